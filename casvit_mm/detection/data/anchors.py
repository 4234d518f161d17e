"""Which anchors of an anchor-based detector fit the boxes of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config

from casvit_mm.config.forms import type_name

__all__ = [
    'AnchorSetup',
    'best_overlaps',
    'propose_anchors',
    'read_anchors',
]

_SAMPLE = 20_000  # boxes; more change no figure in its third digit
_MIN_GAIN = 0.02  # of recall, below which a proposal is not worth a change


@dataclass(frozen=True)
class AnchorSetup:
    """A config's anchors.

    Attributes:
        path: Dotted name of the anchor generator in the config.
        settings: The generator's arguments.
        sizes: Width and height in pixels of A anchors, ``(A, 2)``.
        strides: Distance in pixels of the grid that each lies on, ``(A,)``.
    """

    path: str
    settings: dict
    sizes: np.ndarray
    strides: np.ndarray


def read_anchors(cfg: Config) -> AnchorSetup | None:
    """Return the anchors of a config's model, or None if it has none of mmdet's generator."""
    for head in ('rpn_head', 'bbox_head'):
        generator = (cfg.model.get(head) or {}).get('anchor_generator') or {}
        if type_name(generator) == 'AnchorGenerator':
            settings = {key: value for key, value in generator.items() if key != 'type'}
            return _set_up(f'model.{head}.anchor_generator', settings)
    return None


def _set_up(path: str, settings: dict) -> AnchorSetup:
    """Return the anchors that mmdet's ``AnchorGenerator`` makes of its arguments.

    They are computed here, since importing mmdet takes seconds and 0.4 GiB.
    """
    # Horizontal and vertical stride of each level, which may be one number.
    pairs = np.array([np.broadcast_to(stride, 2) for stride in settings['strides']])
    base = settings.get('base_sizes') or pairs.min(axis=1)
    scales = settings.get('scales')
    if scales is None:
        number = settings['scales_per_octave']
        scales = settings['octave_base_scale'] * 2 ** (np.arange(number) / number)
    height = np.sqrt(np.array(settings['ratios'], dtype=np.float64))  # the ratio is height to width
    shapes = np.stack([1 / height, height], axis=-1)
    squares = np.multiply.outer(np.asarray(base, dtype=np.float64), np.asarray(scales))
    sizes = squares[..., None, None] * shapes  # (levels, scales, ratios, 2)
    return AnchorSetup(
        path, settings, sizes.reshape(-1, 2), np.repeat(pairs[:, 0], sizes[0].size // 2)
    )


def best_overlaps(boxes: np.ndarray, anchors: AnchorSetup) -> np.ndarray:
    """Return the IoU of every box with the best anchor, which lies on its grid.

    Args:
        boxes: x, y, width and height in pixels of the scaled image, ``(N, 4)``.
        anchors: The anchors.

    Returns:
        ``(N,)``.
    """
    best = np.zeros(len(boxes))
    centres, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]
    for anchor, stride in zip(anchors.sizes, anchors.strides, strict=True):
        offset = np.abs(centres - (centres / stride).round() * stride)
        half = (sides + anchor) / 2 - offset
        overlap = np.clip(np.minimum(half, np.minimum(sides, anchor)), 0, None).prod(axis=1)
        best = np.maximum(best, overlap / (sides.prod(axis=1) + anchor.prod() - overlap))
    return best


def _sampled(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= _SAMPLE:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), _SAMPLE, replace=False)]


def propose_anchors(
    boxes: np.ndarray, anchors: AnchorSetup
) -> tuple[float, float, AnchorSetup | None]:
    """Look for scales and ratios of anchors that fit better, as many as there are now.

    Args:
        boxes: x, y, width and height in pixels of the scaled image, ``(N, 4)``.
        anchors: The present ones.

    Returns:
        Share of boxes with an anchor of IoU 0.5 or more, now and as proposed, and the proposal;
        None if it would win less than 0.02.
    """
    boxes = _sampled(boxes)
    present = _recall(boxes, anchors)
    best, setup = present, None
    for changes in _candidates(boxes, anchors.settings):
        other = _set_up(anchors.path, {**anchors.settings, **changes})
        recall = _recall(boxes, other)
        if recall > best + 1e-3:
            best, setup = recall, other
    return (present, best, setup) if best >= present + _MIN_GAIN else (present, present, None)


def _recall(boxes: np.ndarray, anchors: AnchorSetup) -> float:
    return float((best_overlaps(boxes, anchors) >= 0.5).mean())


def _candidates(boxes: np.ndarray, settings: dict) -> Iterable[dict]:
    """Yield anchor settings, the nearest to the present ones first."""
    spread = max(np.quantile(np.abs(np.log(boxes[:, 3] / boxes[:, 2])), 0.8), np.log(1.5))
    wide = round(float(np.exp(spread)), 1)
    ratios = [list(settings['ratios']), [round(1 / wide, 2), 1.0, wide]]
    factors = (1, 0.5, 2, 0.75, 1.5, 0.375, 0.25, 3, 4)
    for ratio in ratios:
        for factor in factors:
            changes: dict[str, object]
            if settings.get('octave_base_scale'):
                changes = dict(octave_base_scale=_plain(settings['octave_base_scale'] * factor))
            else:
                changes = dict(scales=[_plain(scale * factor) for scale in settings['scales']])
            yield {**changes, 'ratios': ratio}


def _plain(value: float) -> float:
    return int(value) if value == int(value) else round(value, 2)
