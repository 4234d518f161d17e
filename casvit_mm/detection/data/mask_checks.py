"""Defects of segmentations: polygons and run-length encodings (RLE)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_values import is_polygon, name_annotation
from casvit_mm.datasets.formats.packed import plain_outline
from casvit_mm.datasets.formats.rle import find_rle_fault, rle_counts
from casvit_mm.datasets.issues import Issue
from casvit_mm.detection.data.objects import Objects

__all__ = ['Masks', 'has_masks', 'mask_issues', 'read_masks']

_BATCH = 20_000  # objects whose outlines are in memory at a time
_FAULTS = {
    'flat polygon': 'a polygon without area',
    'self-crossing polygon': 'a polygon whose outline crosses itself',
    'polygon beyond the image': 'a polygon that leaves its image',
}


@dataclass(frozen=True)
class Masks:
    """Extent and area of the masks of N objects.

    Attributes:
        box: x, y, width and height, NaN where an object has no sound mask, ``(N, 4)``.
        area: Pixels, NaN likewise, ``(N,)``.
        doubtful: Whether the area is uncertain, since a polygon crosses itself or there are
            several polygons, which may overlap, ``(N,)``.
        issues: What is wrong with them.
    """

    box: np.ndarray
    area: np.ndarray
    doubtful: np.ndarray
    issues: list[Issue]


def has_masks(content: dict[str, Any]) -> bool:
    """Return whether any annotation has a segmentation."""
    annotations = content.get('annotations')
    return isinstance(annotations, list) and any(
        isinstance(entry, dict) and bool(entry.get('segmentation')) for entry in annotations
    )


def mask_issues(content: dict[str, Any], objects: Objects, masks: Masks) -> Iterator[Issue]:
    """Find boxes that differ from their mask by more than 2 px and a tenth of their side."""
    apart = np.zeros(len(objects.box), dtype=bool)
    for start in range(0, len(apart), _BATCH):
        part = slice(start, start + _BATCH)
        # A mask beyond the edge is an issue of its own; the box may well be clipped already.
        limit = np.tile(objects.size[part], 2)
        corners = np.clip(_corners(objects.box[part]), 0, limit)
        others = np.clip(_corners(masks.box[part]), 0, limit)
        allowed = np.maximum(2, 0.1 * objects.box[part, 2:].max(axis=1))
        apart[part] = np.abs(corners - others).max(axis=1) > allowed
    for row in np.flatnonzero(apart & ~objects.crowd & objects.visible()):
        index = int(objects.index[row])
        which = name_annotation(content['annotations'][index])
        message = (
            f'{which} has bbox {_numbers(objects.box[row])}, but its mask spans '
            f'{_numbers(masks.box[row])}'
        )
        yield Issue('box differs from mask', which, message, False, ('annotations', index))


def _corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def _numbers(box: np.ndarray) -> str:
    return '[' + ', '.join(f'{v:.1f}'.removesuffix('.0') for v in box) + ']'


def read_masks(content: dict[str, Any], objects: Objects) -> Masks:
    """Measure every mask and find those that are empty, flat, crossed or outside."""
    count = len(objects.index)
    masks = Masks(
        np.full((count, 4), np.nan), np.full(count, np.nan), np.zeros(count, dtype=bool), []
    )
    found: dict[str, list[Issue]] = {kind: [] for kind in _FAULTS}
    for start in range(0, count, _BATCH):
        rows = range(start, min(start + _BATCH, count))
        owners, polygons = [], []
        for row in rows:
            annotation = content['annotations'][objects.index[row]]
            packed = annotation.get('segmentation')
            segmentation = plain_outline(packed)
            if isinstance(segmentation, dict) and {'counts', 'size'} <= set(segmentation):
                _read_rle(annotation, int(objects.index[row]), row, objects, masks)
            elif isinstance(packed, bytes) or _are_polygons(segmentation):
                owners += [row] * len(segmentation)
                polygons += segmentation
        if polygons:
            _read_polygons(content, objects, np.array(owners), polygons, masks, found)
    for issues in found.values():
        masks.issues.extend(issues)
    return masks


def _are_polygons(segmentation: Any) -> bool:
    return isinstance(segmentation, list) and all(map(is_polygon, segmentation))


def _read_rle(
    annotation: dict[str, Any], index: int, row: int, objects: Objects, masks: Masks
) -> None:
    from pycocotools import mask as coco_mask

    rle, which, at = annotation['segmentation'], name_annotation(annotation), ('annotations', index)
    width, height = (int(side) for side in objects.size[row])
    if find_rle_fault(rle, (width, height)):
        return  # find_issues tells it
    counts = rle_counts(rle['counts'])
    assert counts is not None
    if counts[1::2].sum() == 0:
        message = f'{which} has an RLE without a pixel'
        masks.issues.append(Issue('empty RLE', which, message, False, at))
        return
    encoded = coco_mask.frPyObjects(rle, height, width) if isinstance(rle['counts'], list) else rle
    masks.box[row] = coco_mask.toBbox(encoded)
    masks.area[row] = counts[1::2].sum()


def _read_polygons(
    content: dict[str, Any],
    objects: Objects,
    owners: np.ndarray,
    polygons: list[list[float]],
    masks: Masks,
    found: dict[str, list[Issue]],
) -> None:
    """Measure polygons by the rows that own them, and put what is wrong into ``found``."""
    import shapely

    lengths = np.array([len(p) // 2 for p in polygons])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    points = np.concatenate([np.asarray(p, dtype=np.float64) for p in polygons]).reshape(-1, 2)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    shapes = shapely.polygons(
        shapely.linearrings(points, indices=np.repeat(np.arange(len(polygons)), lengths))
    )
    areas = shapely.area(shapes)
    flat = areas <= 0
    crossed = ~flat & ~shapely.is_valid(shapes)
    # A ring that touches itself in a point still has one inside; only crossings are doubtful.
    reasons = shapely.is_valid_reason(shapes[crossed])
    crossed[crossed] = [reason.startswith('Self-intersection') for reason in reasons]
    limit = objects.size[owners] + 1
    outside = ~flat & ((low < -1).any(axis=1) | (high > limit).any(axis=1))

    for kind, which_ones in zip(_FAULTS, (flat, crossed, outside), strict=True):
        for row in np.unique(owners[which_ones]):
            index = int(objects.index[row])
            which = name_annotation(content['annotations'][index])
            at = ('annotations', index)
            found[kind].append(Issue(kind, which, f'{which} has {_FAULTS[kind]}', False, at))

    sound = ~flat
    owner, low, high = owners[sound], low[sound], high[sound]
    rows, place = np.unique(owner, return_inverse=True)
    first, last = np.full((len(rows), 2), np.inf), np.full((len(rows), 2), -np.inf)
    np.minimum.at(first, place, low)
    np.maximum.at(last, place, high)
    masks.box[rows] = np.concatenate([first, last - first], axis=1)
    masks.area[rows] = np.bincount(place, areas[sound], minlength=len(rows))
    masks.doubtful[owners[crossed]] = True
    several, counts = np.unique(owners, return_counts=True)
    masks.doubtful[several[counts > 1]] = True
