"""Pictures of predictions: objects with labels that stay readable in a crowd, segments, classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from casvit_mm.deploy.canvas import (
    RGB,
    add_line,
    distinct_colours,
    fit_side,
    load_font,
    paint_labels,
    text_colour,
)
from casvit_mm.deploy.masks import CroppedMasks, MaskCrop, crop_of
from casvit_mm.errors import plain_name

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

__all__ = ['draw_classes', 'draw_objects', 'draw_segments']

_MIN_SIDE = 640  # pixels; smaller images are enlarged, or labels would hide the objects
_MAX_COVERED = 0.3  # share of a box that a label may cover
_LONGEST_NAME = 40  # characters
_MOST_LABELS = 1000  # of the best scores; each is compared with all boxes


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray | None,
    names: Sequence[str],
    masks: np.ndarray | CroppedMasks | None,
    classes: Sequence[str],
    tracks: np.ndarray | None = None,
    caption: str = '',
) -> np.ndarray:
    """Draw objects onto a copy of an image, with a line below that counts them.

    An image whose longer side is below 640 px is enlarged by a whole factor. Every class has a
    colour of its own. A label is left out where it would cover another one or much of a box; the
    colour then names the class, by the line below.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        boxes: Left, top, right and bottom in pixels, ``(N, 4)``.
        scores: ``(N,)``; None for those that a person has drawn.
        names: Classes of the ``N`` objects.
        masks: bool ``(N, H, W)``, as an array or as crops; or None.
        classes: All class names, which decide the colours.
        tracks: Numbers ``(N,)`` to stand before the classes, 0 for none.
        caption: What the line below begins with.

    Returns:
        BGR pixels, uint8 ``(factor * H + line, factor * W, 3)``; the size follows from the image's.
    """
    font, pillow = _prepare(image)
    canvas = fit_side(image, _MIN_SIDE)
    factor = canvas.shape[0] // image.shape[0]
    colours = dict(zip(classes, distinct_colours(len(classes)), strict=True))
    corners = factor * np.asarray(boxes, np.float64).reshape(-1, 4)
    # The highest, or else the smallest, last and so on top.
    rank = scores if scores is not None else -(corners[:, 2:] - corners[:, :2]).prod(1)
    order = np.argsort(rank, kind='stable')
    line = _thickness(canvas, corners)
    for i in order if masks is not None else ():
        _draw_mask(canvas, crop_of(masks, i), colours[names[i]], factor, line)  # type: ignore[arg-type]
    for i in order:
        x1, y1, x2, y2 = corners[i].round().astype(int).tolist()
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colours[names[i]][::-1], line)
    picture = pillow.fromarray(canvas[..., ::-1])

    def describe(i: int) -> str:
        number = f'#{tracks[i]} ' if tracks is not None and tracks[i] else ''
        score = f' {scores[i]:.2f}' if scores is not None else ''
        return f'{number}{plain_name(names[i], _LONGEST_NAME)}{score}'

    labels = [(describe(i), colours[names[i]]) for i in order[::-1]]
    _draw_labels(picture, labels[:_MOST_LABELS], corners[order[::-1]], font)
    counts: list[tuple[str, RGB | None]] = [(caption, None)] if caption else []
    counts += [
        (f'{plain_name(name, _LONGEST_NAME)} {count}', colours[name])
        for name, count in Counter(names[i] for i in order).most_common()
    ]
    return np.asarray(add_line(picture, counts, font))[..., ::-1]


def draw_segments(image: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Paint the class of each pixel over an image in grey, with a line below of classes and shares.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        labels: Numbers of the classes ``(H, W)``.
        classes: All class names, which decide the colours.

    Returns:
        BGR pixels, uint8 ``(factor * H + line, factor * W, 3)``; the size follows from the image's.
    """
    font, pillow = _prepare(image)
    pixels = fit_side(image, _MIN_SIDE)[..., ::-1]
    factor = pixels.shape[0] // image.shape[0]
    colours = distinct_colours(len(classes))
    enlarged = labels.repeat(factor, 0).repeat(factor, 1)
    painted = paint_labels(pixels, enlarged, np.array(colours, np.uint8))
    sizes = np.bincount(labels.ravel(), minlength=len(classes))
    shares = [
        (f'{plain_name(classes[k], _LONGEST_NAME)} {sizes[k] / labels.size:.0%}', colours[k])
        for k in np.argsort(-sizes, kind='stable')
        if sizes[k]
    ]
    return np.asarray(add_line(pillow.fromarray(painted), shares, font))[..., ::-1]


def draw_classes(image: np.ndarray, names: Sequence[str], scores: np.ndarray) -> np.ndarray:
    """Write the most probable classes below an image.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        names: Classes, the most probable one first.
        scores: Their probabilities ``(C,)``.

    Returns:
        BGR pixels, uint8 ``(factor * H + line, factor * W, 3)``; the size follows from the image's.
    """
    font, pillow = _prepare(image)
    picture = pillow.fromarray(fit_side(image, _MIN_SIDE)[..., ::-1])
    entries: list[tuple[str, RGB | None]] = [
        (f'{plain_name(name, _LONGEST_NAME)} {score:.2f}', None)
        for name, score in zip(names, scores, strict=True)
    ]
    return np.asarray(add_line(picture, entries, font))[..., ::-1]


def _prepare(image: np.ndarray) -> tuple[ImageFont.FreeTypeFont, ModuleType]:
    """Return the font for a picture of an image, and Pillow's module of images."""
    longer = max(image.shape[:2])
    font = load_font(max(14, round(longer * -(-_MIN_SIDE // longer) / 55)))  # says if Pillow lacks
    from PIL import Image

    return font, Image


def _thickness(canvas: np.ndarray, boxes: np.ndarray) -> int:
    """Return how thick a line is: by the picture, and thinner where most boxes are small."""
    sides = (boxes[:, 2:] - boxes[:, :2]).min(1)
    small = float(np.median(sides)) / 10 if len(sides) else np.inf
    return max(1, round(min(max(canvas.shape) / 400, small)))


def _draw_mask(canvas: np.ndarray, mask: MaskCrop, colour: RGB, factor: int, line: int) -> None:
    """Paint a mask and its outline onto a canvas ``factor`` times as large."""
    if not mask.pixels.size:
        return
    inside = mask.pixels.repeat(factor, 0).repeat(factor, 1)
    top, left = mask.top * factor, mask.left * factor
    region = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
    region[inside] = (0.6 * region[inside] + 0.4 * np.array(colour[::-1])).astype(np.uint8)
    contours, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top)
    )
    cv2.drawContours(canvas, contours, -1, colour[::-1], line)


def _draw_labels(
    picture: Image.Image,
    labels: Sequence[tuple[str, RGB]],
    boxes: np.ndarray,
    font: ImageFont.FreeTypeFont,
) -> None:
    """Write texts beside the first of the boxes, ``(N, 4)`` corners, the most important first."""
    from PIL import ImageDraw

    pen: ImageDraw.ImageDraw = ImageDraw.Draw(picture)
    placed = np.zeros((0, 4))
    height = font.size * 1.35
    pad = font.size * 0.25
    for (text, colour), (x1, y1, _, y2) in zip(labels, boxes, strict=False):
        width = font.getlength(text) + 2 * pad
        left = max(0.0, min(x1, picture.width - width))
        for top in (y1 - height, y2, y1):
            label = np.array([left, top, left + width, top + height])
            inside = top >= 0 and label[2] <= picture.width and label[3] <= picture.height
            if (
                inside
                and not _covered(placed, label).any()
                and (_covered(boxes, label) <= _MAX_COVERED).all()
            ):
                pen.rectangle(label.tolist(), fill=colour)
                middle = (left + pad, top + height / 2)
                pen.text(middle, text, fill=text_colour(colour), font=font, anchor='lm')
                placed = np.vstack([placed, label])
                break


def _covered(boxes: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the share of each box, ``(N, 4)``, that a label covers, 0 to 1."""
    sides = np.minimum(boxes[:, 2:], label[2:]) - np.maximum(boxes[:, :2], label[:2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return sides.clip(0).prod(1) / areas.clip(1e-6)
