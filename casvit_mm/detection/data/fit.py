"""How a detection config fits a dataset: its image scale, crop and anchors, and the advice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.datasets.fit import (
    Fit,
    advise_balance,
    describe_heads,
    read_crop,
    read_scale,
    read_train_scale,
    scale_options,
)
from casvit_mm.detection.data.anchors import propose_anchors, read_anchors
from casvit_mm.detection.data.checks import Inspection
from casvit_mm.detection.data.objects import Objects
from casvit_mm.detection.data.statistics import percentiles, scaled_boxes, share_of

__all__ = ['describe_anchors', 'detection_fit']

_WANTED_SIDE = 16  # px of an object, see _advise_scale
_MANY_CUT = 0.05  # share of the objects that no crop shows whole


def detection_fit(
    config: str, cfg: Config, inspection: Inspection, splits: dict[str, dict[str, Any]]
) -> Fit:
    """Judge a config by the training split.

    Args:
        config: Its file.
        cfg: The config.
        inspection: What was found in the data.
        splits: :func:`casvit_mm.detection.data.statistics.describe_split` by split.

    Raises:
        InputError: If the config weighs the classes of other data.
    """
    train = inspection.objects.get('train')
    figures = {} if train is None or not train.learnt().any() else describe_anchors(cfg, train)
    lines = _describe(figures) if figures else []
    if train is not None:
        heads = describe_heads(cfg, len(train.classes))
        lines += [heads] if lines else []
    return Fit(config, figures, lines, _advise(inspection, splits, figures, cfg))


def _describe(figures: dict[str, Any]) -> list[str]:
    scale, sides = figures['image_scale'], figures['scaled_box_side']
    scaled = f'scales images into {scale[0]} x {scale[1]}' if scale else 'takes images as they are'
    lines = [
        f'{scaled}: box sides are {sides["p10"]:.0f}, {sides["p50"]:.0f}, {sides["p90"]:.0f} px '
        'there (10th, 50th, 90th percentile of train)'
    ]
    if 'crop_size' in figures:
        width, height = figures['crop_size']
        lines.append(
            f'Training crops {width} x {height}: {figures["larger_than_crop"]:.0%} of the objects '
            'are wider or higher'
        )
    return lines


def describe_anchors(cfg: Config, objects: Objects) -> dict[str, Any]:
    """Return how a config's image scale and anchors fit the boxes of the training split.

    Args:
        cfg: A detection config.
        objects: Objects of the training split, some of them learnt.
    """
    scale = read_scale(cfg)
    boxes = scaled_boxes(objects, scale)
    figures: dict[str, Any] = dict(
        image_scale=scale,
        scaled_box_side=percentiles(np.sqrt(boxes[:, 2:].prod(axis=1))),
    )
    figures.update(_describe_crop(cfg, objects))
    anchors = read_anchors(cfg)
    if anchors is None:
        return figures
    present, proposed, setup = propose_anchors(boxes, anchors)
    figures.update(anchor_recall=present, anchor_recall_proposed=proposed, cfg_options=[])
    if setup is not None:
        figures['cfg_options'] = [
            f'{setup.path}.{key}={_literal(value)}'
            for key, value in setup.settings.items()
            if value != anchors.settings[key]
        ]
    return figures


def _describe_crop(cfg: Config, objects: Objects) -> dict[str, Any]:
    """Return which part of the objects the crop of the training shows whole, if it has one."""
    crop, scaling = read_crop(cfg, height_first=False), read_train_scale(cfg)
    if crop is None or scaling is None:
        return {}
    scale, (low, high) = scaling
    sides = scaled_boxes(objects, scale)[:, 2:] * np.clip(1, low, high)
    wanted = math.ceil(np.percentile(sides.max(axis=1), 99) / 32) * 32
    return dict(
        crop_size=crop.size,
        larger_than_crop=share_of(crop.too_small_for(sides)),
        crop_option=f'{crop.path}.crop_size="({wanted},{wanted})"',
    )


def _literal(value: Any) -> str:
    """Write a value as ``--cfg-options`` reads it: without blanks."""
    return str(value).replace(' ', '')


def _advise(
    inspection: Inspection, splits: dict[str, dict[str, Any]], figures: dict[str, Any], cfg: Config
) -> list[str]:
    advice = [*_advise_leaks(inspection), *_advise_limit(inspection, splits)]
    if figures:
        advice += _advise_scale(figures, cfg)
        advice += _advise_anchors(figures)
        advice += _advise_crop(figures)
    train = splits.get('train', {})
    return advice + advise_balance(train.get('objects_per_class', {}), 'AP')


def _advise_leaks(inspection: Inspection) -> list[str]:
    advice = []
    for name, issues in inspection.issues.items():
        twice = sum(d.kind == 'image in two splits' for d in issues)
        if twice:
            advice.append(
                f'{twice} of {len(inspection.objects[name].images)} images of {name} are in '
                'another split too: scores measured there say little about new images.'
            )
    return advice


def _advise_limit(inspection: Inspection, splits: dict[str, dict[str, Any]]) -> list[str]:
    fullest = max((s['objects_per_image']['max'] for s in splits.values()), default=0)
    limit = inspection.data.max_dets
    if fullest <= limit:
        return []
    wanted = math.ceil(fullest * 1.1 / 50) * 50
    return [
        f'An image holds {fullest} objects, more than max_dets: {limit}. Put "max_dets: {wanted}" '
        f'into {inspection.data.path.name}, or the rest can never be found.'
    ]


def _advise_scale(fit: dict[str, Any], cfg: Config) -> list[str]:
    """Advise a larger image scale where a tenth of the objects would be below 16 px."""
    small, scale = fit['scaled_box_side']['p10'], fit['image_scale']
    if scale is None or small >= _WANTED_SIDE:
        return []
    factor = min(2.0, _WANTED_SIDE / small)
    larger = tuple(math.ceil(side * factor / 32) * 32 for side in scale)
    advice = (
        f'A tenth of the objects are below {small:.0f} px after scaling images into {scale[0]} x '
        f'{scale[1]}. Below {_WANTED_SIDE} px an object covers less than two cells of the finest '
        'feature map of RTMDet or RetinaNet (four of Mask R-CNN) and is hard to learn. Larger '
        f'images cost time and memory, {(larger[0] / scale[0]) ** 2:.1f} times as much here: '
        f'--cfg-options {" ".join(scale_options(cfg, larger))}'
    )
    if _WANTED_SIDE / small > 2:
        advice += '. Even this leaves many too small: cut the images into tiles.'
    return [advice]


def _advise_crop(fit: dict[str, Any]) -> list[str]:
    larger = fit.get('larger_than_crop', 0)
    if larger < _MANY_CUT:
        return []
    width, height = fit['crop_size']
    return [
        f'{larger:.0%} of the objects are wider or higher than the {width} x {height} that '
        'training crops, after scaling: no input shows them whole. Lower the image scale, or '
        f'enlarge the crop: --cfg-options {fit["crop_option"]}'
    ]


def _advise_anchors(fit: dict[str, Any]) -> list[str]:
    recall = fit.get('anchor_recall')
    if recall is None:
        return []
    if not fit['cfg_options']:
        return [
            f'The anchors fit: {recall:.1%} of the boxes have one of IoU 0.5 or more; no other '
            'scales or ratios that were tried win 2 % more.'
        ]
    options = ' '.join(f'"{option}"' for option in fit['cfg_options'])
    return [
        f'{recall:.1%} of the boxes have an anchor of IoU 0.5 or more; '
        f'{fit["anchor_recall_proposed"]:.1%} would with --cfg-options {options}'
    ]
