"""Whether the boxes of COCO content are ``[x1, y1, x2, y2]`` where width and height belong."""

from __future__ import annotations

from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_columns import Columns, read_columns
from casvit_mm.datasets.formats.coco_values import is_box, is_id, is_number, is_polygon, is_size
from casvit_mm.datasets.formats.packed import plain_outline

__all__ = ['boxes_from_corners', 'count_corners']

_FIT = 0.95  # share of the boxes that are possible as corners
_TOLD = 0.3  # share that is not possible, or contradicts mask or area, as width and height
_BEYOND = 1.05  # times the side of the image: rounding and careless drawing stay below
_ALIKE = 0.02  # share by which an area may differ


def boxes_from_corners(content: dict[str, Any]) -> None:
    """Turn every well-formed box from two corners into corner, width and height, in place."""
    annotations = content.get('annotations')
    for entry in annotations if isinstance(annotations, list) else []:
        if isinstance(entry, dict) and is_box(entry.get('bbox')):
            x1, y1, x2, y2 = entry['bbox']
            entry['bbox'] = [x1, y1, x2 - x1, y2 - y1]


def count_corners(
    content: dict[str, Any], columns: Columns | None = None
) -> tuple[int, int] | None:
    """Return how many boxes speak for corners, and how many there are; None if they do not.

    Nearly all must be possible as corners. Then a share of them must leave the image, or differ
    from their mask or area, if the last two numbers were width and height, and agree with it if
    they are a corner. Masks that say otherwise decide; areas may have been computed from the boxes.
    """
    columns = columns or read_columns(content)
    if columns is not None and _share(columns.box, columns.sizes[columns.image]) < _FIT:
        return None  # of nearly every set, before memory is taken
    table, entries = _rows(content, columns)
    if _share(table[:, :4], table[:, 4:6]) < _FIT:
        return None
    x, y, right, bottom, width, height, area = table.T
    number = len(table)
    ends = [_ends(plain_outline(entry.get('segmentation'))) for entry in entries]
    mask_right, mask_bottom = np.array(ends, dtype=np.float64).T
    beyond = (x + right > _BEYOND * width) | (y + bottom > _BEYOND * height)
    as_corners = _like(area, (right - x) * (bottom - y))
    as_sides = _like(area, right * bottom)
    mask_at = np.abs([mask_right - right, mask_bottom - bottom]).max(axis=0) <= 2
    mask_beyond = np.abs([mask_right - x - right, mask_bottom - y - bottom]).max(axis=0) <= 2
    if (mask_beyond & ~mask_at).mean() > 1 - _FIT:
        return None
    denied = (as_sides & ~as_corners).mean() > 1 - _FIT
    if denied and (number < 4 or beyond.mean() < _TOLD):
        return None
    told = beyond | (as_corners & ~as_sides) | (mask_at & ~mask_beyond)
    return (int(told.sum()), number) if told.mean() >= _TOLD else None


def _share(box: np.ndarray, size: np.ndarray) -> float:
    """Return which share of the boxes, ``(N, 4)``, with sides is possible as corners."""
    inside = np.asarray(box[:, 2:] <= size + 1).all(axis=1)
    fits = np.asarray((box[:, 2:] > box[:, :2]).all(axis=1) & inside)
    kept = (box[:, 2:] > 0).all(axis=1)
    return float(fits[kept].mean()) if kept.any() else 0.0


def _like(area: np.ndarray, product: np.ndarray) -> np.ndarray:
    return np.abs(area - product) <= _ALIKE * np.abs(product)


def _rows(content: dict[str, Any], columns: Columns | None) -> tuple[np.ndarray, list[Any]]:
    """Return box, size of the image and area, ``(N, 7)``, of objects, and their annotations."""
    if columns is not None:
        kept = (columns.box[:, 2:] > 0).all(axis=1)
        table = [columns.box, columns.sizes[columns.image], columns.area[:, None]]
        entries = [content['annotations'][i] for i in np.flatnonzero(kept).tolist()]
        return np.concatenate(table, axis=1)[kept], entries
    sections = [content.get(key) for key in ('images', 'annotations')]
    images, annotations = (
        [e for e in s if isinstance(e, dict)] if isinstance(s, list) else [] for s in sections
    )
    sizes = {
        e['id']: (e['width'], e['height'])
        for e in images
        if is_id(e.get('id')) and is_size(e.get('width'), e.get('height'))
    }
    rows, kept_ones = [], []
    for entry in annotations:
        image, box, area = (entry.get(key) for key in ('image_id', 'bbox', 'area'))
        if is_id(image) and image in sizes and is_box(box) and box[2] > 0 and box[3] > 0:
            rows.append((*box, *sizes[image], area if is_number(area) else np.nan))
            kept_ones.append(entry)
    return np.array(rows, dtype=np.float64).reshape(-1, 7), kept_ones


def _ends(segmentation: Any) -> tuple[float, float]:
    polygons = segmentation if isinstance(segmentation, list) else []
    sound = [polygon for polygon in polygons if is_polygon(polygon)]
    if not sound:
        return np.nan, np.nan
    return max(max(p[::2]) for p in sound), max(max(p[1::2]) for p in sound)
