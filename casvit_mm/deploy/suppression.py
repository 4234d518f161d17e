"""The choice among all places of a detector of one stage, where its file leaves it to NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError

__all__ = ['suppress']

Outputs = dict[str, np.ndarray]


def suppress(outputs: Outputs, spec: Spec, size: tuple[int, int]) -> Outputs:
    """Return the outputs that the file would have with its choice inside.

    Args:
        outputs: Of one image: ``boxes`` ``(1, N, 4)``, ``scores`` ``(1, N, K)``, and what else
            docs/export.md names.
        spec: Of a file with ``outside``.
        size: Height and width of the input.

    Returns:
        ``boxes``, ``scores``, ``labels`` and, from RTMDet-Ins, ``masks``.

    Raises:
        InputError: If the outputs do not fit the description or the input.
    """
    settings = spec.outside
    assert settings is not None  # the caller asks for it only then
    levels = _levels(settings, size)  # (N,)
    _check(outputs, settings, len(levels))
    boxes, scores = outputs['boxes'][0], outputs['scores'][0]  # (N, 4), (N, K)
    factors = outputs['factors'][0] if 'factors' in outputs else np.ones(len(boxes), np.float32)
    if settings['one_class']:
        labels = scores.argmax(1)
        scores = scores.max(1) * factors
        places = np.flatnonzero(scores > settings['score_thr'])
        labels, scores = labels[places], scores[places]
    else:
        places, labels = np.nonzero(scores > settings['score_thr'])
        scores = scores[places, labels]
        kept = _best_of_each(levels[places], scores, settings['nms_pre'])
        places, labels = places[kept], labels[kept]
        scores = scores[kept] * factors[places]
    if settings['min_side'] >= 0:
        large = (boxes[places, 2:] - boxes[places, :2] > settings['min_side']).all(1)
        places, labels, scores = places[large], labels[large], scores[large]
    kept = _without_duplicates(boxes[places], scores, labels, settings['iou_thr'])
    kept = kept[: settings['max_per_img']]
    places = places[kept]
    found = dict(boxes=boxes[places], scores=scores[kept], labels=labels[kept].astype(np.int64))
    if 'kernels' in outputs:
        found['masks'] = _draw(outputs['kernels'][0][places], outputs['features'][0], spec)
    return {name: values[None] for name, values in found.items()}


def _levels(settings: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Return the number of the level of each place, ``(N,)``."""
    divisor = settings['divisor']
    height, width = (-(-side // divisor) * divisor for side in size)
    counts = [
        -(-height // stride) * -(-width // stride) * anchors
        for stride, anchors in settings['levels']
    ]
    return np.repeat(np.arange(len(counts)), counts)


def _check(outputs: Outputs, settings: dict[str, Any], places: int) -> None:
    """Refuse outputs that are not those of the description."""
    axes = dict(boxes=3, scores=3, factors=2, kernels=3, features=4)
    known = all(name in axes and values.ndim == axes[name] for name, values in outputs.items())
    lengths = {values.shape[1] for name, values in outputs.items() if name != 'features'}
    if not known or not {'boxes', 'scores'} <= set(outputs) or lengths != {places}:
        raise InputError(
            'the outputs of the exported file are not the places that its description counts. '
            'Export it again'
        )
    widths = settings['mask_widths']
    if bool(widths) != ('kernels' in outputs) or ('kernels' in outputs) != ('features' in outputs):
        raise InputError('the exported file lacks the parts of its masks. Export it again')


def _best_of_each(levels: np.ndarray, scores: np.ndarray, number: int) -> np.ndarray:
    """Return the rows of the ``number`` best of each level; all if it is negative."""
    order = np.argsort(-scores, kind='stable')
    if number < 0:
        return order
    kept = [order[levels[order] == level][:number] for level in np.unique(levels)]
    return np.concatenate([*kept, order[:0]])


def _without_duplicates(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_thr: float
) -> np.ndarray:
    """Return the rows that non-maximum suppression per label keeps, the best one first."""
    order = np.argsort(-scores, kind='stable')
    kept = []
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
    areas = sides[:, 0] * sides[:, 1]
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        inner = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(
            boxes[best, :2], boxes[order, :2]
        )
        shared = inner.clip(0).prod(1)
        with np.errstate(divide='ignore', invalid='ignore'):  # of boxes without area
            overlaps = shared / (areas[best] + areas[order] - shared)
        order = order[(labels[order] != labels[best]) | ~(overlaps > iou_thr)]
    return np.array(kept, np.int64)


def _draw(details: np.ndarray, features: np.ndarray, spec: Spec) -> np.ndarray:
    """Return the logits of RTMDet-Ins's masks, ``(M, h, w)``.

    Args:
        details: Kernels, point and stride of each object, ``(M, E + 3)``.
        features: ``(C, h, w)``.
        spec: Widths of the layers, stride of the masks.
    """
    settings = spec.outside
    assert settings is not None
    assert spec.mask_stride is not None
    channels, height, width = features.shape
    widths = settings['mask_widths']
    inputs = [channels + 2, *widths[:-1]]
    sizes = [a * b for a, b in zip(inputs, widths, strict=True)] + list(widths)
    if details.shape[1] != sum(sizes) + 3:
        raise InputError('the exported file lacks the parts of its masks. Export it again')
    parts = np.split(details, np.cumsum(sizes), 1)
    rows, columns = np.mgrid[:height, :width].reshape(2, -1)
    centres = (np.stack([columns, rows]) + settings['mask_offset']) * spec.mask_stride  # (2, hw)
    flat = features.reshape(channels, -1)
    masks = np.empty((len(details), height, width), np.float32)
    for number in range(len(details)):
        point, stride = parts[-1][number, :2, None], parts[-1][number, 2]
        x = np.concatenate([(point - centres) / (stride * 8), flat]).astype(np.float32)
        for layer, out in enumerate(widths):
            x = parts[layer][number].reshape(out, -1) @ x
            x += parts[layer + len(widths)][number][:, None]
            if layer + 1 < len(widths):
                np.maximum(x, 0, out=x)
        masks[number] = x.reshape(height, width)
    return masks
