"""COCO annotations of which every one is well-formed, as arrays: checked together, not in turn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_values import is_id
from casvit_mm.io import pixel_limit

__all__ = ['Columns', 'read_columns']

_HUGE = 1e9  # as of coco_values.is_number


@dataclass(frozen=True)
class Columns:
    """N annotations.

    Attributes:
        id: As written, ``(N,)``.
        image: Position of the image in the list of images, ``(N,)``.
        category: Id of the category, ``(N,)``.
        box: x, y, width and height in pixels, ``(N, 4)``.
        area: As annotated, ``(N,)``.
        crowd: Whether it is a crowd, ``(N,)``.
        sizes: Width and height of the images, ``(M, 2)``.
    """

    id: np.ndarray
    image: np.ndarray
    category: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    sizes: np.ndarray

    def usable(self) -> np.ndarray:
        """Return which mmdet takes as objects, ``(N,)``, as ``usable.find_obstacle`` says."""
        low, high = self.box[:, :2], self.box[:, :2] + self.box[:, 2:]
        size = self.sizes[self.image]
        inside = (np.minimum(high, size) > np.maximum(low, 0)).all(axis=1)
        return inside & (self.box[:, 2:] >= 1).all(axis=1) & (self.area > 0) & ~self.crowd


def read_columns(content: dict[str, Any]) -> Columns | None:
    """Return the annotations of content as arrays.

    Returns:
        None if any annotation or image is not as it should be, has a flag but ``iscrowd``, or an id
        of a category that is not listed; or if there is no annotation.
    """
    images, annotations, categories = (
        section if isinstance(section, list) else []
        for section in map(content.get, ('images', 'annotations', 'categories'))
    )
    if not annotations:
        return None
    try:
        sizes = _read_sizes(images)
        place = {e['id']: i for i, e in enumerate(images)}
        known = {e['id'] for e in categories if is_id(e['id']) and isinstance(e['name'], str)}
        if any('ignored' in e or e.get('ignore', 0) != 0 for e in annotations):
            return None
        # One list at a time: of a large set each takes memory.
        number, owner, category = (
            _read_whole([e[key] for e in annotations]) for key in ('id', 'image_id', 'category_id')
        )
        crowd = _read_whole([e.get('iscrowd', 0) for e in annotations])
        box = _read_boxes([e['bbox'] for e in annotations])
        area = _read_numbers([e['area'] for e in annotations])
        if sizes is None or owner is None or len(place) < len(images):
            return None
        image = np.array([place[i] for i in owner.tolist()], dtype=np.int64)
    except (AttributeError, KeyError, TypeError):  # something is no object, or lacks a field
        return None
    if number is None or category is None or crowd is None or box is None or area is None:
        return None
    if not (set(np.unique(category).tolist()) <= known and set(np.unique(crowd)) <= {0, 1}):
        return None
    return Columns(number, image, category, box, area, crowd.astype(bool), sizes)


def _read_whole(values: list[Any]) -> np.ndarray | None:
    """Return whole numbers, ``(N,)``; None if one is none, or too large for an id."""
    return np.array(values, dtype=np.int64) if _are_ids(values) else None


def _read_sizes(images: list[Any]) -> np.ndarray | None:
    """Return width and height of images, ``(M, 2)``; None if one lacks a name, an id or a size."""
    ids, names, widths, heights = (
        [e[key] for e in images] for key in ('id', 'file_name', 'width', 'height')
    )
    if set(map(type, names)) != {str} or not all(map(str.strip, names)) or not _are_ids(ids):
        return None
    if not (_are_ids(widths) and _are_ids(heights) and min(widths) > 0 and min(heights) > 0):
        return None
    limit = pixel_limit()
    if any(width * height > limit for width, height in set(zip(widths, heights, strict=True))):
        return None
    return np.array([widths, heights], dtype=np.float64).T


def _are_ids(values: list[Any]) -> bool:
    """Return whether every value is one that ``coco_values.is_id`` knows."""
    return set(map(type, values)) == {int} and is_id(max(values)) and is_id(min(values))


def _read_boxes(boxes: list[Any]) -> np.ndarray | None:
    """Return ``(N, 4)``; None if one is no list of four finite numbers."""
    if not (set(map(type, boxes)) == {list} and set(map(len, boxes)) == {4}):
        return None
    found = _read_numbers(list(chain.from_iterable(boxes)))
    return None if found is None else found.reshape(-1, 4)


def _read_numbers(values: list[Any]) -> np.ndarray | None:
    """Return finite numbers, as ``coco_values.is_number`` knows them; None if one is none."""
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        found = np.array(values, dtype=np.float64)
    except OverflowError:  # a number of hundreds of digits
        return None
    return found if (np.abs(found) < _HUGE).all() else None
