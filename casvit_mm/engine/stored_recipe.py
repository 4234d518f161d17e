"""The config of an evaluation, where a checkpoint is all that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit_mm.config.editing import single_dataset
from casvit_mm.config.paths import ROOT
from casvit_mm.config.reading import read_config
from casvit_mm.config.stored import stored_config
from casvit_mm.task import task_name
from casvit_mm.weights.reading import load_file

__all__ = ['stored_recipe']

# Published recipes, from which come metric, dataloader and what else is no part of a model.
_RECIPES = {'segmentation': 'semfpn_casvit_xs_ade20k', 'classification': 'casvit_xs_imagenet'}


def stored_recipe(checkpoint: str) -> Config:
    """Return model and test pipeline of a checkpoint in a published recipe of its task.

    Its data are those of the recipe: a custom dataset is to take their place.

    Args:
        checkpoint: One of our trainings, or a file that was published.

    Raises:
        InputError: As :func:`casvit_mm.config.stored.stored_config`.
    """
    stored = stored_config(load_file(checkpoint), checkpoint)
    detector = f'{"maskrcnn" if _gives_masks(stored.model) else "retinanet"}_casvit_xs_coco'
    name = _RECIPES.get(task_name(stored), detector)
    recipe = read_config(ROOT / 'configs' / f'{name}.py')
    recipe.model = stored.model
    single_dataset(recipe.test_dataloader).pipeline = stored.test_dataloader.dataset.pipeline
    recipe.work_dir = _work_dir(checkpoint)
    # The Runner keeps a copy of the config under the name of its file.
    named = f'{Path(checkpoint).stem}.py'
    return Config(recipe.to_dict(), cfg_text=recipe.text, filename=named)


def _gives_masks(model: dict[str, Any]) -> bool:
    parts = (model, model.get('roi_head') or {})
    kinds = (str(part.get('type')) for part in (model, model.get('bbox_head') or {}))
    return any('mask_head' in part for part in parts) or any('Ins' in kind for kind in kinds)


def _work_dir(checkpoint: str) -> str:
    """Return the folder of a training, or one by the name of the checkpoint."""
    folder = Path(checkpoint).parent
    if (folder / 'last_checkpoint').exists():
        return str(folder)
    return f'work_dirs/{Path(checkpoint).stem}'
