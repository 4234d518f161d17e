"""Start from a trained model whose classes are others: everything is kept but the class layers."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner
from torch import Tensor, nn

from casvit_mm.config.building import build_untrained
from casvit_mm.config.editing import innermost_dataset
from casvit_mm.config.forms import entries, type_name, type_of
from casvit_mm.distributed.group import unwrapped_model
from casvit_mm.engine.options import TrainOptions
from casvit_mm.engine.weight_meaning import changed_meanings
from casvit_mm.errors import InputError
from casvit_mm.weights.matching import check_fit, read_checkpoint
from casvit_mm.weights.official_keys import as_classifier
from casvit_mm.weights.reading import class_names

__all__ = ['FinetuneHook', 'class_layers', 'finetune_from', 'training_classes']

_COUNTS = ('num_classes', 'num_things_classes')


def _with_more_classes(node: Any) -> Any:
    """Return a copy of a model's config with one class more wherever classes are counted."""
    if isinstance(node, dict):
        return {
            key: value + 1 if key in _COUNTS and value else _with_more_classes(value)
            for key, value in node.items()
        }
    return [_with_more_classes(child) for child in node] if isinstance(node, list) else node


def class_layers(cfg: Config) -> tuple[nn.Module, list[str]]:
    """Build a config's model and find the entries whose shape depends on the number of classes.

    Found by building it with one class more and comparing, so that it holds for any head.

    Returns:
        The model, its weights not initialised, and the keys of its state dict.
    """
    model = build_untrained(cfg)
    more = MODELS.build(ConfigDict(_with_more_classes(cfg.model.to_dict()))).state_dict()
    return model, [key for key, v in model.state_dict().items() if v.shape != more[key].shape]


def training_classes(cfg: Config) -> tuple[str, ...]:
    """Return the class names of a config's training data."""
    dataset = innermost_dataset(cfg.train_dataloader)
    classes = (dataset.get('metainfo') or {}).get('classes')
    return tuple(classes or type_of(cfg, DATASETS, dataset).METAINFO['classes'])


@HOOKS.register_module()
class FinetuneHook(Hook):
    """Leave the class layers of a loaded checkpoint as the model has them initialised.

    A checkpoint of the same classes, as one to resume from, is loaded whole, and so is any where
    nothing will be trained.

    Args:
        classes: Class names that the model is trained on.
        layers: Keys of the state dict whose shape depends on the number of classes.
    """

    priority = 'HIGH'  # before PlainCheckpointHook looks whether everything fits

    def __init__(self, classes: tuple[str, ...], layers: list[str]) -> None:
        self.classes = tuple(classes)
        self.layers = layers

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        training = isinstance(runner.optim_wrapper, OptimWrapper)
        if training and class_names(checkpoint) != self.classes:
            model = unwrapped_model(runner)
            state = as_classifier(checkpoint['state_dict'], model)
            checkpoint['state_dict'] = _remake(state, model, self.layers)
            checkpoint.pop('ema_state_dict', None)  # of the old classes


def _remake(state: dict[str, Tensor], model: nn.Module, layers: list[str]) -> dict[str, Tensor]:
    """Return ``state`` with the entries ``layers``, where it has them, taken from ``model``."""
    own = model.state_dict()
    return {**state, **{key: own[key] for key in layers if key in state}}


def finetune_from(cfg: Config, options: TrainOptions) -> list[str]:
    """With ``--finetune``, start from a trained model's weights, whatever its classes were.

    Where a checkpoint to resume from was found, that goes first.

    Args:
        cfg: The config with the data and classes to train on, changed in place.
        options: ``start.finetune`` is a checkpoint of the same model, of ours or of the authors.

    Returns:
        What the log should say: which entries are kept and which are made anew.

    Raises:
        InputError: If the file cannot be read, or differs from the model in anything but the
            class layers.
    """
    path = options.start.finetune
    if path is None or cfg.get('resume'):
        return []
    checkpoint = read_checkpoint(path)
    old, new = class_names(checkpoint), training_classes(cfg)
    model, layers = class_layers(cfg)
    state = as_classifier(checkpoint['state_dict'], model)
    if not layers:
        raise InputError(f'--finetune: nothing in the model of {cfg.filename} depends on classes')
    fitting = state if old == new else _remake(state, model, layers)
    kept = check_fit(model, fitting, path, checkpoint.get('official_names'))

    cfg.load_from, cfg.resume = path, False
    hook = dict(type='FinetuneHook', classes=new, layers=layers)
    others = [h for h in entries(cfg, 'custom_hooks') if type_name(h) != 'FinetuneHook']
    cfg.custom_hooks = [*others, hook]
    if old == new:
        kept_and_made = f'all {len(kept)} entries kept; it has the same {len(new)} classes'
    else:
        own = model.state_dict()
        lines = [f'  {key} {tuple(state[key].shape)} -> {tuple(own[key].shape)}' for key in layers]
        kept_and_made = '\n'.join(
            [
                f'{len(kept) - len(layers)} entries kept, {len(layers)} made anew, since '
                f'{_difference(old, new)}:',
                *lines,
            ]
        )
    return [
        f'--finetune {path}: {kept_and_made}',
        *changed_meanings(cfg, checkpoint, path),
    ]


def _difference(old: tuple[str, ...] | None, new: tuple[str, ...]) -> str:
    """Say how the classes of a checkpoint differ from those to train on."""
    if old is None:
        return 'it does not name its classes'
    if set(old) == set(new):
        return 'it has the same classes in another order'
    shared = len(set(old) & set(new))
    return f'it knows {len(old)} class(es) and this data has {len(new)}, {shared} in common'
