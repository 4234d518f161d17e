"""The datasets of a config: those that it names itself, and custom ones put in their place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from casvit_mm.config.editing import (
    innermost_dataset,
    innermost_datasets,
    require_pipelines,
    single_dataset,
)
from casvit_mm.config.forms import type_name
from casvit_mm.datasets.description import DatasetDescription
from casvit_mm.datasets.layouts import describe_missing
from casvit_mm.errors import InputError

__all__ = [
    'check_model_type',
    'describe_absent',
    'described_root',
    'image_root',
    'named_datasets',
    'replace_dataset',
]

_KEPT = ('pipeline', 'indices', 'test_mode')  # of the config's own datasets


def named_datasets(cfg: Config, splits: Sequence[str]) -> Iterator[tuple[str, ConfigDict, str]]:
    """Yield split, dataset without its wrappers, and place for messages, of each dataset."""
    for split in splits:
        if loader := cfg.get(f'{split}_dataloader'):
            where = f'{split}_dataloader.dataset of {cfg.filename}'
            for dataset in innermost_datasets(loader):
                yield split, dataset, where


def describe_absent(what: str, where: str, layout: str | None, root: Path) -> str:
    """Return the message for a file or folder of a config's dataset that is not there.

    Args:
        what: The file or folder.
        where: What names it.
        layout: Public dataset that it belongs to, as :data:`casvit_mm.datasets.layouts.LAYOUTS`
            has it; None for another one.
        root: Folder of the dataset.
    """
    official = '' if layout is None else describe_missing(layout, root)
    return (
        f'{what} ({where}) does not exist.\n'
        f'{official}To use a custom dataset: --data dataset.yaml (docs/reference/data_formats.md)'
    )


def check_model_type(cfg: Config, splits: Sequence[str], ending: str, data: str, task: str) -> None:
    """Refuse a config whose model is not of the task of the data, or that lacks a dataloader.

    Args:
        cfg: The config.
        splits: Splits that will be read.
        ending: How the types of the task's models end, e.g. ``'Classifier'``.
        data: What the description holds, e.g. ``'image folders'``.
        task: Name of the task.

    Raises:
        InputError: Naming the model.
    """
    model_type = type_name(cfg.get('model'))
    if not model_type.endswith(ending):
        raise InputError(
            f'--data describes {data}, for {task} configs (a model whose type ends with {ending}); '
            f'{cfg.filename} has a model {model_type!r}. Use a {task} config.'
        )
    require_pipelines(cfg, splits)


def described_root(data: DatasetDescription[Any], split: str) -> str:
    """Return the folder that the images of a split have in common, as described."""
    return os.path.commonpath([source.images for source in data.splits[data.used_split(split)]])


def image_root(cfg: Config) -> str:
    """Return the folder of the test images; files written per image are named relative to it."""
    dataset = innermost_dataset(cfg.test_dataloader)
    prefix = dataset.get('data_prefix') or dataset.get('split') or ''
    if isinstance(prefix, dict):
        prefix = prefix.get('img_path') or prefix.get('img') or ''
    return str(Path(dataset.get('data_root') or '', prefix))


def replace_dataset(cfg: Config, split: str, fields: dict[str, Any]) -> ConfigDict:
    """Let a dataloader read another dataset through its own pipeline and wrappers, in place.

    Where it joins several, the first of them is what is kept.

    Returns:
        The dataset.
    """
    dataset = single_dataset(cfg[f'{split}_dataloader'])
    kept = {key: dataset[key] for key in _KEPT if key in dataset}
    dataset.clear()
    dataset.update(kept, **fields)
    return dataset
