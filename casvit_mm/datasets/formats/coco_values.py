"""What a value of COCO format must be: numbers, ids, sizes, boxes and polygons."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np

from casvit_mm.io import pixel_limit

__all__ = ['is_box', 'is_id', 'is_number', 'is_polygon', 'is_short', 'is_size', 'name_annotation']

_HUGE = 1e9  # beyond any pixel count; NaN is not below it either
_LONGEST_OUTLINE = 2**24  # pixels
_LARGEST_ID = 1 << 63  # the evaluation keeps ids in 64 bits


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether ``value`` is a finite number, not its text."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE


def is_id(value: Any) -> TypeGuard[int]:
    """Return whether ``value`` can be an id: a whole number."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_ID


def is_size(width: Any, height: Any) -> bool:
    """Return whether an image that can be read has this width and height in pixels."""
    return all(is_id(side) and side > 0 for side in (width, height)) and (
        width * height <= pixel_limit()
    )


def is_box(value: Any) -> TypeGuard[list[float]]:
    """Return whether ``value`` is a list of four finite numbers."""
    return isinstance(value, list) and len(value) == 4 and _are_numbers(value)


def is_polygon(value: Any) -> TypeGuard[list[float]]:
    """Return whether ``value`` is a flat list of three points or more, which can be drawn."""
    return (
        isinstance(value, list)
        and len(value) >= 6
        and len(value) % 2 == 0
        and _are_numbers(value)
        and _is_short(value)
    )


def is_short(lengths: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return which outlines are short for sure, by their numbers and the largest of each."""
    return np.asarray(lengths * largest < _LONGEST_OUTLINE)


def _is_short(polygon: list[float]) -> bool:
    """Return whether an outline is short enough: pycocotools takes memory for all of its pixels."""
    if len(polygon) * max(map(abs, polygon)) < _LONGEST_OUTLINE:
        return True
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return bool(steps.sum() < _LONGEST_OUTLINE)


def _are_numbers(values: list) -> bool:
    """Return :func:`is_number` of all values, ten times as fast: polygons have many."""
    return (
        set(map(type, values)) <= {int, float}
        and max(map(abs, values)) < _HUGE
        and sum(values) < math.inf  # false for NaN, which max may overlook
    )


def name_annotation(annotation: dict[str, Any]) -> str:
    """Name an annotation for a message: its id, and the place that it was converted from."""
    source = annotation.get('source')
    return f'annotation {annotation.get("id")}{f" ({source})" if source else ""}'
