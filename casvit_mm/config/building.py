"""From a config and a checkpoint to a model, and the device to run it on."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from casvit_mm.config.checks import check_backbone
from casvit_mm.config.class_counts import cap_max_dets, set_num_classes
from casvit_mm.config.editing import config_classes
from casvit_mm.config.options import merge_options
from casvit_mm.config.reading import read_config
from casvit_mm.config.stored import stored_config
from casvit_mm.config.type_checks import explaining_build_errors
from casvit_mm.config.value_checks import check_values
from casvit_mm.errors import InputError, first_names
from casvit_mm.io import limited_memory
from casvit_mm.weights.matching import check_fit, read_checkpoint
from casvit_mm.weights.reading import class_names, load_file
from casvit_mm.weights.sources import local_file

__all__ = [
    'BuiltModel',
    'build_model',
    'build_untrained',
    'check_device',
    'memory_for',
    'read_model_config',
]


@dataclass(frozen=True)
class BuiltModel:
    """A model on the CPU, in eval mode.

    Attributes:
        model: Of mmdet, mmseg, mmpretrain or mmengine.
        classes: Class names in the order of its outputs; empty if they are unknown.
        note: What the user should know of the classes; empty if nothing.
    """

    model: Any
    classes: tuple[str, ...]
    note: str


def read_model_config(
    path: str | Path | None,
    cfg_options: dict[str, Any] | None = None,
    checkpoint: str | Path | None = None,
) -> Config:
    """Read a config to build its model from; the pretrained weights it names are left out.

    Args:
        path: What :func:`casvit_mm.config.reading.read_config` takes; None takes what a checkpoint
            holds, as :func:`casvit_mm.config.stored.stored_config` returns it.
        cfg_options: Config entries to set, by dotted name.
        checkpoint: The file that holds it.

    Raises:
        InputError: If the config is missing, has no model, or its backbone has wrong arguments.
    """
    if path is None:
        assert checkpoint is not None
        cfg = stored_config(load_file(checkpoint), checkpoint)
    else:
        cfg = read_config(path)
    merge_options(cfg, cfg_options)
    if path is not None:
        check_values(cfg)
    check_backbone(cfg)
    if 'backbone' in cfg.model:
        cfg.model.backbone.init_cfg = None
    return cfg


def build_model(
    cfg: Config, checkpoint: str | Path | None = None, need_classes: bool = True
) -> BuiltModel:
    """Build a config's model with the weights of a checkpoint, or with random ones.

    The heads get as many classes as the checkpoint names; if it names none, as the test data of
    the config.

    Args:
        cfg: From :func:`read_model_config`; the number of classes is changed in place.
        checkpoint: File of weights of the whole model; nothing in it is executed.
        need_classes: Whether class names must be known. If not, the config's own number of classes
            is taken where the checkpoint names none.

    Raises:
        InputError: If the checkpoint is missing or does not fit, or no class names are known.
    """
    content = read_checkpoint(checkpoint) if checkpoint else {}
    classes, note = class_names(content), content.get('stripped', '')
    if classes is None and need_classes:
        classes = config_classes(cfg, checkpoint or 'the checkpoint')
        if checkpoint:
            note = f'{note}\n' * bool(note) + (
                f'{checkpoint} holds no class names; the {len(classes)} of {cfg.filename} are used '
                f'({first_names(classes, 3)})'
            )
    if classes is not None:
        set_num_classes(cfg, len(classes))
        cap_max_dets(cfg, len(classes))
    if 'data_preprocessor' in cfg:  # beside the model, where MMEngine's Runner finds it as well
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with explaining_build_errors(cfg):
        model: Any = revert_sync_batchnorm(MODELS.build(cfg.model))
    if checkpoint:
        names = content.get('official_names')
        try:
            state = check_fit(model, content['state_dict'], checkpoint, names)
        except InputError as error:
            raise InputError(f'{error}\n{note}' if note else str(error)) from error
        model.load_state_dict(state)
    return BuiltModel(model.eval(), classes or (), note)


def memory_for(
    config: str | Path | Config | None, checkpoint: str | Path | None
) -> AbstractContextManager[None]:
    """Limit the memory inside the block if the config is that of the checkpoint.

    Nobody else has seen how large its model is.
    """
    if config is not None or checkpoint is None:
        return nullcontext()
    return limited_memory(local_file(checkpoint))


def build_untrained(cfg: Config) -> nn.Module:
    """Return a config's model as it is built, its weights not initialised; ``cfg`` is kept."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with explaining_build_errors(cfg):
        model: nn.Module = MODELS.build(copy.deepcopy(cfg.model))  # some heads change what they get
    return model


def check_device(device: str | None) -> str:
    """Return the device to run on; None takes a GPU where there is one.

    Raises:
        InputError: If there is no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None:
        return 'cuda' if gpus else 'cpu'
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f'--device {device!r} is unknown; known are cpu, cuda, cuda:1 and so on'
        ) from error
    if parsed.type == 'cuda' and (parsed.index or 0) >= gpus:
        raise InputError(
            f'--device {device}: torch finds {gpus} GPU(s) here. Take --device cpu, or leave it out'
        )
    return device
