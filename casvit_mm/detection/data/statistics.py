"""Statistics of a detection dataset, and what they advise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.datasets.fit import (
    advise_balance,
    read_crop,
    read_scale,
    read_train_scale,
    scale_factors,
    scale_options,
)
from casvit_mm.datasets.image_scan import ImageScan
from casvit_mm.datasets.report import describe_images
from casvit_mm.detection.data.anchors import propose_anchors, read_anchors
from casvit_mm.detection.data.checks import Inspection
from casvit_mm.detection.data.objects import Objects

__all__ = ['advise', 'describe_anchors', 'describe_split', 'scaled_boxes']

_PERCENTILES = (0, 10, 50, 90, 100)
_WANTED_SIDE = 16  # px, see advise
_MANY_CUT = 0.05  # share of the objects that no crop shows whole


def describe_split(objects: Objects, scans: Iterable[ImageScan]) -> dict[str, Any]:
    """Return the statistics of one split.

    Args:
        objects: Its objects; crowds are counted but not measured.
        scans: What the image files hold.
    """
    learnt = objects.learnt()
    box, size = objects.box[learnt], objects.size[learnt]
    area = objects.area[learnt]
    side = np.sqrt(box[:, 2] * box[:, 3])
    number = len(objects.images)
    per_image = np.bincount(objects.image[learnt])
    counts = np.bincount(objects.label[learnt], minlength=len(objects.classes))
    pairs = np.unique(np.stack([objects.image, objects.label])[:, learnt], axis=1)
    images = np.bincount(pairs[1], minlength=len(objects.classes))
    return dict(
        **describe_images(number, scans),
        objects=int(learnt.sum()),
        crowds=int(objects.crowd.sum()),
        not_learnt=int((~learnt & ~objects.crowd).sum()),
        objects_per_class=dict(zip(objects.classes, counts.tolist(), strict=True)),
        images_per_class=dict(zip(objects.classes, images.tolist(), strict=True)),
        objects_per_image=dict(
            mean=float(learnt.sum() / max(number, 1)), max=int(per_image.max(initial=0))
        ),
        box_side=_percentiles(side),
        box_side_relative=_percentiles(side / np.sqrt(size.prod(axis=1))),
        box_width_to_height=_percentiles(box[:, 2] / box[:, 3]),
        coco_sizes=dict(
            small=_share(area < 32**2),
            medium=_share((area >= 32**2) & (area < 96**2)),
            large=_share(area >= 96**2),
        ),
    )


def _percentiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    found = np.percentile(values, _PERCENTILES)
    return {f'p{p}': round(float(v), 4) for p, v in zip(_PERCENTILES, found, strict=True)}


def _share(which: np.ndarray) -> float:
    return round(float(which.mean()), 4) if len(which) else 0.0


def scaled_boxes(objects: Objects, scale: tuple[int, int] | None) -> np.ndarray:
    """Return the learnt boxes in pixels of the scaled images, ``(N, 4)``."""
    learnt = objects.learnt()
    factors = scale_factors(objects.size[learnt], scale)
    return objects.box[learnt] * factors[:, None]


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
        scaled_box_side=_percentiles(np.sqrt(boxes[:, 2:].prod(axis=1))),
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
        larger_than_crop=_share(crop.too_small_for(sides)),
        crop_option=f'{crop.path}.crop_size="({wanted},{wanted})"',
    )


def _literal(value: Any) -> str:
    """Write a value as ``--cfg-options`` reads it: without blanks."""
    return str(value).replace(' ', '')


def advise(
    inspection: Inspection, splits: dict[str, dict[str, Any]], fit: dict[str, Any], cfg: Config
) -> list[str]:
    """Return advice in sentences, the most important first.

    Args:
        inspection: What was found.
        splits: :func:`describe_split` by split.
        fit: :func:`describe_anchors`; empty if there is no object to fit.
        cfg: The config that is judged.
    """
    advice = [*_advise_leaks(inspection), *_advise_limit(inspection, splits)]
    if fit:
        advice += _advise_scale(fit, cfg)
        advice += _advise_anchors(fit)
        advice += _advise_crop(fit)
    train = splits.get('train', {})
    advice += advise_balance(train.get('objects_per_class', {}), 'AP')
    return advice


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
        f'{scale[1]}. Below {_WANTED_SIDE} px an object covers less than two cells of a '
        "RetinaNet's finest feature map (four of a Mask R-CNN's) and is hard to learn. Larger "
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
