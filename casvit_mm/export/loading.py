"""A config and its checkpoint as a model to export, and what the exported file says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from casvit_mm.config.building import build_model, memory_for, read_model_config
from casvit_mm.config.editing import innermost_dataset
from casvit_mm.config.forms import type_name
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.detectors import check_heads, least_score, mask_stride
from casvit_mm.task import task_name

__all__ = ['Loaded', 'load_model']

# Steps of a pipeline that do not change the image.
_WITHOUT_EFFECT = ('LoadAnnotations', 'PackDetInputs', 'PackSegInputs', 'PackInputs')


@dataclass(frozen=True)
class Loaded:
    """A model with its weights, in eval mode.

    Attributes:
        cfg: Its config.
        model: The mm model.
        spec: Task, classes and pre-processing; the rest at its defaults.
        note: What the user should know of the weights or classes; empty if nothing.
    """

    cfg: Config
    model: Any
    spec: Spec
    note: str


def load_model(
    config: str | Path | None, checkpoint: str | Path | None, cfg_options: dict[str, Any] | None
) -> Loaded:
    """Build a config's model with the weights of a checkpoint, or without any.

    Without a config, that of the checkpoint is taken. The number of classes follows from the names
    in the checkpoint.

    Raises:
        InputError: If the config or checkpoint is missing, they do not fit each other, a head has
            no form in a graph, or the test pipeline holds a step that an exported file cannot
            describe.
    """
    cfg = read_model_config(config, cfg_options, checkpoint)
    task = task_name(cfg)
    with memory_for(config, checkpoint):
        built = build_model(cfg, checkpoint)
    if task == 'detection':
        check_heads(built.model)
    if 'test_dataloader' not in cfg:
        raise InputError(
            f'{config} has no test_dataloader, whose pipeline an exported file follows'
        )
    spec = _describe(cfg, built.model, task, built.classes)
    random = 'no checkpoint: the exported weights are random, good for timing'
    return Loaded(cfg, built.model, spec, built.note if checkpoint else random)


def _describe(cfg: Config, model: Any, task: str, names: tuple[str, ...]) -> Spec:
    preprocessor = model.data_preprocessor
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    settings = cfg.model.data_preprocessor
    spec: dict[str, Any] = dict(
        task=task,
        classes=names,
        steps=tuple(_steps(cfg)),
        # YOLOX takes pixels as they are.
        mean=(0.0, 0.0, 0.0) if mean is None else tuple(mean.flatten().tolist()),
        std=(1.0, 1.0, 1.0) if std is None else tuple(std.flatten().tolist()),
        rgb=bool(settings.get('bgr_to_rgb') or settings.get('to_rgb')),
    )
    if task == 'detection':
        test_cfg = model.test_cfg.get('rcnn', model.test_cfg)
        spec.update(
            score_thr=least_score(model),
            mask_stride=mask_stride(model),
            mask_thr=float(test_cfg.get('mask_thr_binary', 0.5)),
        )
    if task == 'segmentation':
        head = model.decode_head
        threshold = float(head.threshold) if head.out_channels == 1 else None
        spec.update(align_corners=bool(head.align_corners), label_thr=threshold)
    return Spec(**spec)


def _steps(cfg: Config) -> list[dict[str, Any]]:
    """Return what the test pipeline does to an image's size, as deploy.images.resize reads it."""
    first, *pipeline = innermost_dataset(cfg.test_dataloader).pipeline
    if type_name(first) != 'LoadImageFromFile' or first.get('color_type', 'color') != 'color':
        raise InputError(
            f'{cfg.filename}: the test pipeline starts with {dict(first)}; an exported model reads '
            "images itself, as LoadImageFromFile with color_type='color' does"
        )
    steps: list[dict[str, Any]] = []
    for step in pipeline:
        if type_name(step) in _WITHOUT_EFFECT:
            continue
        described = _describe_step(step)
        if described is None or (steps and steps[-1]['op'].startswith('pad')):
            raise InputError(
                f'{cfg.filename}: an exported file cannot describe the step {dict(step)} of the '
                'test pipeline. Known are Resize, ResizeToMultiple, ResizeEdge with the short '
                'edge, and CenterCrop, with bilinear or bicubic interpolation, and Pad at the end'
            )
        steps.append(described)
    return steps


def _describe_step(step: ConfigDict) -> dict[str, Any] | None:
    """Return one step of a pipeline by name and numbers; None if it is not known."""
    method = step.get('interpolation') or 'bilinear'
    library = {'cv2': '', 'pillow': 'pillow-'}.get(step.get('backend', 'cv2'))
    if library is None or method not in ('bilinear', 'bicubic'):
        return None
    how = dict(interpolation=library + method)
    kind = type_name(step)
    if kind == 'Resize' and 'scale' in step:
        scale = _pair(step.scale)
        if step.get('keep_ratio', False):
            return dict(op='fit', scale=scale, **how)
        return dict(op='stretch', size=scale[::-1], **how)
    if kind == 'ResizeToMultiple':
        return dict(op='multiple', divisor=step.get('size_divisor', 32), **how)
    if kind == 'ResizeEdge' and step.get('edge', 'short') == 'short':
        return dict(op='short_edge', size=step.scale, **how)
    if kind == 'CenterCrop' and not step.get('auto_pad', False):
        return dict(op='center_crop', size=_pair(step.crop_size)[::-1])
    if kind == 'Pad' and step.get('padding_mode', 'constant') == 'constant':
        return _describe_padding(step)
    return None


def _describe_padding(step: ConfigDict) -> dict[str, Any] | None:
    """Return how an image is filled up, below and on the right."""
    value = step.get('pad_val', 0)
    value = value.get('img', 0) if isinstance(value, dict) else value
    colour = [value] * 3 if isinstance(value, (int, float)) else list(value)
    if step.get('size') is not None:
        return dict(op='pad', size=_pair(step.size)[::-1], colour=colour)
    if step.get('pad_to_square') and step.get('size_divisor') is None:
        return dict(op='pad_square', colour=colour)
    return None


def _pair(value: Any) -> list[int]:
    """Return width and height."""
    return [value, value] if isinstance(value, int) else list(value)
