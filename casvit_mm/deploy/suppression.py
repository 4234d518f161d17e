"""The objects of a detector of one stage whose file ends at the maps of its head."""

from __future__ import annotations

import numpy as np

from casvit_mm.deploy.places import Outputs, find_candidates
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError

__all__ = ['suppress']


def suppress(outputs: Outputs, spec: Spec, size: tuple[int, int]) -> Outputs:
    """Return the outputs that the file would have with its choice inside.

    Args:
        outputs: Of one image: the maps of each level, see docs/howto/export.md.
        spec: Of a file with ``outside``.
        size: Height and width of the input.

    Returns:
        ``boxes``, ``scores``, ``labels`` and, from RTMDet-Ins, ``masks``.

    Raises:
        InputError: If the outputs do not fit the description or the input.
    """
    settings = spec.outside
    assert settings is not None  # the caller asks for it only then
    boxes, scores, labels, details = find_candidates(outputs, spec, size)
    if settings['min_side'] >= 0:
        large = (boxes[:, 2:] - boxes[:, :2] > settings['min_side']).all(1)
        boxes, scores, labels = boxes[large], scores[large], labels[large]
        details = details[large]
    kept = _without_duplicates(boxes, scores, labels, settings['iou_thr'])
    kept = kept[: settings['max_per_img']]
    found = dict(boxes=boxes[kept], scores=scores[kept], labels=labels[kept])
    if settings['mask_widths']:
        found['masks'] = _draw(details[kept], outputs['features'][0], spec)
    return {name: values[None] for name, values in found.items()}


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
    centres = (np.stack([columns, rows]) + settings['offset']) * spec.mask_stride  # (2, hw)
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
