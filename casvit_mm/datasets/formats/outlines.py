"""What labelling tools draw, as boxes, polygons and masks of COCO.

Coordinates are pixels whose first edge is 0, as in COCO, CVAT and LabelMe: an object that covers
the whole image of 80 x 40 has the corners (0, 0) and (80, 40).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_values import is_polygon
from casvit_mm.deploy.base import optional
from casvit_mm.deploy.rle import encode_mask

__all__ = [
    'box_fields',
    'decode_segmentation',
    'ellipse_outline',
    'mask_fields',
    'merge_fields',
    'place_crop',
    'polygon_fields',
    'rotated_outline',
]

_SAGITTA = 0.1  # pixels between an ellipse and the polygon that stands for it
_FEWEST, _MOST = 16, 512  # corners of such a polygon

Point = Sequence[float]


def box_fields(left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    """Return ``bbox`` and ``area`` of a box, whichever of its corners were named.

    Raises:
        ValueError: If it has no area.
    """
    (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))
    width, height = right - left, bottom - top
    if not (width > 0 and height > 0):
        raise ValueError('is a box without area')
    return dict(bbox=[left, top, width, height], area=width * height)


def polygon_fields(polygons: Sequence[list[float]], width: int, height: int) -> dict[str, Any]:
    """Return ``bbox``, ``area`` and ``segmentation`` of an object of one or several polygons.

    The polygons stay as they are. The area of one is exact; that of several is the number of pixels
    that they cover together, since they may overlap.

    Args:
        polygons: Each of three points or more, ``[x1, y1, x2, y2, ...]``.
        width: Of the image.
        height: Of the image.

    Raises:
        ValueError: If a polygon has fewer points, or is no line around anything.
    """
    for polygon in polygons:
        if not is_polygon(polygon):
            number = len(polygon) // 2
            if number < 3:
                raise ValueError(f'has {number} points; an outline needs 3 or more')
            raise ValueError('is an outline with a coordinate that no image has')
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    segmentation = [list(polygon) for polygon in polygons]
    area = sum(map(_area, polygons))
    if len(polygons) > 1:  # 0 where they are smaller than a pixel
        area = float(decode_segmentation(segmentation, width, height).sum()) or area
    if right <= left or bottom <= top or area <= 0:
        raise ValueError('is an outline without area')
    box = [left, top, right - left, bottom - top]
    return dict(bbox=box, area=area, segmentation=segmentation)


def mask_fields(mask: np.ndarray) -> dict[str, Any]:
    """Return ``bbox``, ``area`` and ``segmentation``, as RLE, of a mask.

    Args:
        mask: bool, of the size of the image ``(H, W)``.

    Raises:
        ValueError: If it is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError('is a mask without a pixel')
    left, top = float(columns[0]), float(rows[0])
    box = [left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top]
    return dict(bbox=box, area=float(mask.sum()), segmentation=encode_mask(mask))


def merge_fields(parts: Sequence[dict[str, Any]], width: int, height: int) -> dict[str, Any]:
    """Return one object of several parts: polygons where all are, else boxes, else a mask.

    Args:
        parts: What the other functions here return.
        width: Of the image.
        height: Of the image.
    """
    if len(parts) == 1:
        return parts[0]
    outlines = [part.get('segmentation') for part in parts]
    if not any(outlines):
        boxes = np.array([part['bbox'] for part in parts])
        low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
        return box_fields(*low.tolist(), *high.tolist())
    outlines = [
        _corners(part['bbox']) if outline is None else outline
        for part, outline in zip(parts, outlines, strict=True)
    ]
    if all(isinstance(outline, list) for outline in outlines):
        return polygon_fields([p for outline in outlines for p in outline or ()], width, height)
    masks = [decode_segmentation(outline, width, height) for outline in outlines]
    return mask_fields(np.logical_or.reduce(masks))


def _corners(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def decode_segmentation(segmentation: Any, width: int, height: int) -> np.ndarray:
    """Return polygons or an RLE of COCO as pixels, bool ``(height, width)``.

    Raises:
        InputError: If pycocotools is not installed.
    """
    optional('pycocotools', 'a mask in the format of COCO')
    coco = import_module('pycocotools.mask')
    if isinstance(segmentation, list) or isinstance(segmentation.get('counts'), list):
        encoded = coco.frPyObjects(segmentation, height, width)
    else:
        encoded = segmentation
    if isinstance(encoded, list):
        encoded = coco.merge(encoded)
    return coco.decode(encoded).astype(bool)


def place_crop(crop: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Return a mask of the image, bool ``(height, width)``, from one of a part of it.

    Args:
        crop: bool ``(h, w)``.
        left: Column of the image at which it begins; what lies beyond the image is cut.
        top: Row likewise.
        width: Of the image.
        height: Of the image.
    """
    mask = np.zeros((height, width), dtype=bool)
    rows, columns = crop.shape
    low_y, low_x = max(top, 0), max(left, 0)
    high_y, high_x = min(top + rows, height), min(left + columns, width)
    if high_y > low_y and high_x > low_x:
        inside = crop[low_y - top : high_y - top, low_x - left : high_x - left]
        mask[low_y:high_y, low_x:high_x] = inside
    return mask


def rotated_outline(
    box: Sequence[float], degrees: float, pivot: Point | None = None
) -> list[float]:
    """Return the corners of a box that is turned clockwise, ``[x1, y1, ..., x4, y4]``.

    Args:
        box: x, y, width and height before the turn.
        degrees: Angle of the turn, clockwise as seen on the screen.
        pivot: What it turns about; None for its centre.
    """
    x, y, w, h = box
    pivot = (x + w / 2, y + h / 2) if pivot is None else pivot
    return _turned([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], degrees, pivot)


def ellipse_outline(centre: Point, radii: Point, degrees: float = 0.0) -> list[float]:
    """Return a polygon for an ellipse, within a tenth of a pixel, ``[x1, y1, ...]``.

    Args:
        centre: x and y.
        radii: Along x and along y, before the turn.
        degrees: Angle of the turn about the centre, clockwise as seen on the screen.

    Raises:
        ValueError: If a radius is 0.
    """
    if not min(radii) > 0:
        raise ValueError('is a circle without area')
    step = math.acos(max(1 - _SAGITTA / max(radii), -1))
    number = min(max(math.ceil(math.pi / step), _FEWEST), _MOST)
    angles = [2 * math.pi * i / number for i in range(number)]
    (x, y), (rx, ry) = centre, radii
    points = [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]
    return _turned(points, degrees, centre)


def _turned(points: Sequence[Point], degrees: float, pivot: Point) -> list[float]:
    if degrees == 0:
        return [value for point in points for value in point]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    px, py = pivot
    turned = []
    for x, y in points:  # y points down, so that this is clockwise
        turned += [px + (x - px) * cos - (y - py) * sin, py + (x - px) * sin + (y - py) * cos]
    return turned


def _area(polygon: Sequence[float]) -> float:
    """Return the area of a polygon in pixels, by the shoelace formula."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    points = points - points[0]  # keeps digits far from the corner of the image
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
