"""Defects of segmentations: polygons and run-length encodings (RLE)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco import is_id, is_polygon, is_size, name_annotation
from casvit_mm.datasets.issues import Issue
from casvit_mm.detection.data.objects import Objects

__all__ = ['Masks', 'has_masks', 'mask_issues', 'read_masks', 'rle_counts']


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
    corners = _corners(objects.box)
    others = _corners(masks.box)
    # A mask beyond the edge is an issue of its own; the box may well be clipped already.
    limit = np.tile(objects.size, 2)
    apart = np.abs(np.clip(corners, 0, limit) - np.clip(others, 0, limit)).max(axis=1)
    allowed = np.maximum(2, 0.1 * objects.box[:, 2:].max(axis=1))
    for row in np.flatnonzero((apart > allowed) & ~objects.crowd & objects.visible()):
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
    """Measure every mask and find those that are flat, crossed, outside or do not decode."""
    count = len(objects.index)
    masks = Masks(
        np.full((count, 4), np.nan), np.full(count, np.nan), np.zeros(count, dtype=bool), []
    )
    owners, polygons = [], []
    for row, index in enumerate(objects.index):
        annotation = content['annotations'][index]
        segmentation = annotation.get('segmentation')
        if isinstance(segmentation, dict) and {'counts', 'size'} <= set(segmentation):
            _read_rle(annotation, int(index), row, objects, masks)
        elif isinstance(segmentation, list) and all(map(is_polygon, segmentation)):
            owners += [row] * len(segmentation)
            polygons += segmentation
    if polygons:
        _read_polygons(content, objects, np.array(owners), polygons, masks)
    return masks


def _read_rle(
    annotation: dict[str, Any], index: int, row: int, objects: Objects, masks: Masks
) -> None:
    from pycocotools import mask as coco_mask

    rle, which, at = annotation['segmentation'], name_annotation(annotation), ('annotations', index)
    width, height = (int(side) for side in objects.size[row])
    size = rle.get('size')
    if not (isinstance(size, list) and len(size) == 2 and is_size(*size)):
        message = f'{which} has RLE size {size!r}; expected [height, width]'
        masks.issues.append(Issue('RLE that does not decode', which, message, True, at))
        return
    counts = rle_counts(rle.get('counts'))
    if counts is None or counts.sum() != size[0] * size[1]:
        found = 'no run lengths' if counts is None else f'{counts.sum()} pixels'
        message = f'{which} has an RLE of {found}; {size[0]} x {size[1]} are expected'
        masks.issues.append(Issue('RLE that does not decode', which, message, True, at))
    elif size != [height, width]:
        message = f'{which} has RLE size {size}, but its image is {height} high and {width} wide'
        masks.issues.append(Issue('RLE of another size', which, message, True, at))
    elif counts[1::2].sum() == 0:
        message = f'{which} has an RLE without a pixel'
        masks.issues.append(Issue('empty RLE', which, message, False, at))
    else:
        encoded = coco_mask.frPyObjects(rle, *size) if isinstance(rle['counts'], list) else rle
        masks.box[row] = coco_mask.toBbox(encoded)
        masks.area[row] = counts[1::2].sum()


def rle_counts(counts: Any) -> np.ndarray | None:
    """Return the run lengths of COCO's RLE, or None if ``counts`` are none.

    pycocotools decodes a damaged string without complaint, or writes past the end of the mask.
    """
    if isinstance(counts, list):
        good = bool(counts) and all(is_id(c) and 0 <= c < 1 << 40 for c in counts)
        return np.array(counts, dtype=np.int64) if good else None
    if not isinstance(counts, str) or not counts.isascii():
        return None
    # Groups of five bits, lowest first; the sixth bit says that more follow, the fifth of the last
    # group is the sign. From the fourth run on, the difference to the last but one is stored.
    groups = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - 48
    if len(groups) == 0 or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return None
    ends = np.flatnonzero(groups & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 6:  # more than 35 bits: no image is that large
        return None
    runs = np.add.reduceat((groups & 31) << (5 * places), starts)
    runs -= np.where(groups[ends] & 16, 1 << (5 * (ends - starts + 1)), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs if runs.min() >= 0 else None


def _read_polygons(
    content: dict[str, Any],
    objects: Objects,
    owners: np.ndarray,
    polygons: list[list[float]],
    masks: Masks,
) -> None:
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

    kinds = {
        'flat polygon': (flat, 'a polygon without area'),
        'self-crossing polygon': (crossed, 'a polygon whose outline crosses itself'),
        'polygon beyond the image': (outside, 'a polygon that leaves its image'),
    }
    for kind, (found, what) in kinds.items():
        for row in np.unique(owners[found]):
            index = int(objects.index[row])
            which = name_annotation(content['annotations'][index])
            at = ('annotations', index)
            masks.issues.append(Issue(kind, which, f'{which} has {what}', False, at))

    sound = ~flat
    owner, low, high = owners[sound], low[sound], high[sound]
    first, last = np.full((len(masks.area), 2), np.inf), np.full((len(masks.area), 2), -np.inf)
    np.minimum.at(first, owner, low)
    np.maximum.at(last, owner, high)
    rows = np.unique(owner)
    masks.box[rows] = np.concatenate([first, last - first], axis=1)[rows]
    masks.area[rows] = np.bincount(owner, areas[sound], minlength=len(masks.area))[rows]
    masks.doubtful[owners[crossed]] = True
    masks.doubtful[np.bincount(owners, minlength=len(masks.area)) > 1] = True
