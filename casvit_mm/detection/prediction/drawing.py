"""Pictures of detections: masks, boxes, and labels that stay readable in a crowd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle

from casvit_mm.errors import plain_name
from casvit_mm.plotting.colours import distinct_colours
from casvit_mm.plotting.figures import load_font

__all__ = ['draw_detections']

_MIN_SIDE = 640  # pixels; smaller images are enlarged, or labels would hide the objects
_MAX_COVERED = 0.3  # share of a box that a label may cover


def draw_detections(
    image: np.ndarray, objects: Sequence[dict[str, Any]], classes: Sequence[str]
) -> np.ndarray:
    """Draw objects onto a copy of an image, with a line below that counts them.

    An image whose longer side is below 640 px is enlarged by a whole factor. Every class has a
    colour of its own. A label is left out where it would cover another one or much of a box; the
    colour then names the class, by the line below.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        objects: As :class:`casvit_mm.detection.prediction.predictor.Predictor` returns them.
        classes: All class names, which decide the colours.

    Returns:
        BGR pixels, uint8 ``(factor * H + line, factor * W, 3)``; the size follows from the image's.
    """
    height, width = image.shape[:2]
    factor = -(-_MIN_SIDE // max(height, width))
    canvas = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)
    colours = dict(zip(classes, distinct_colours(len(classes)), strict=True))
    objects = sorted(objects, key=lambda found: found['score'])
    for found in objects:
        if 'segmentation' in found:
            _draw_mask(canvas, found['segmentation'], colours[found['class']], factor)
    boxes = factor * np.array([found['bbox'] for found in objects]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    for found, (x1, y1, x2, y2) in zip(objects, boxes.round().astype(int).tolist(), strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colours[found['class']][::-1], _thickness(canvas))
    picture = Image.fromarray(canvas[..., ::-1])
    font = load_font(max(14, round(max(canvas.shape) / 55)))
    _draw_labels(ImageDraw.Draw(picture), picture.size, objects, boxes, colours, font)
    return np.asarray(_with_counts(picture, objects, colours, font))[..., ::-1]


def _thickness(canvas: np.ndarray) -> int:
    return max(1, round(max(canvas.shape) / 400))


def _text_colour(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return 'black' if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else 'white'


def _draw_mask(
    canvas: np.ndarray, segmentation: dict[str, Any], colour: tuple[int, int, int], factor: int
) -> None:
    x, y, width, height = rle.toBbox(segmentation).astype(int)
    if width * height == 0:
        return
    mask = rle.decode(segmentation)[y : y + height, x : x + width]
    mask = cv2.resize(mask, (width * factor, height * factor), interpolation=cv2.INTER_NEAREST)
    left, top = x * factor, y * factor
    region = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    inside = mask.astype(bool)
    region[inside] = (0.6 * region[inside] + 0.4 * np.array(colour[::-1])).astype(np.uint8)
    contours, _ = cv2.findContours(
        mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(int(left), int(top))
    )
    cv2.drawContours(canvas, contours, -1, colour[::-1], _thickness(canvas))


def _draw_labels(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    objects: Sequence[dict[str, Any]],
    boxes: np.ndarray,
    colours: dict[str, tuple[int, int, int]],
    font: ImageFont.FreeTypeFont,
) -> None:
    """Write class and score beside each box, ``(N, 4)`` corners, the highest score first."""
    placed = np.zeros((0, 4))
    height = font.size * 1.35
    pad = font.size * 0.25
    for index in reversed(range(len(objects))):
        found, (x1, y1, _, y2) = objects[index], boxes[index]
        text = f'{plain_name(found["class"], 40)} {found["score"]:.2f}'
        width = font.getlength(text) + 2 * pad
        left = max(0.0, min(x1, size[0] - width))
        for top in (y1 - height, y2, y1):
            label = np.array([left, top, left + width, top + height])
            inside = top >= 0 and label[2] <= size[0] and label[3] <= size[1]
            if (
                inside
                and not _covered(placed, label).any()
                and (_covered(boxes, label) <= _MAX_COVERED).all()
            ):
                colour = colours[found['class']]
                pen.rectangle(label.tolist(), fill=colour)
                middle = (left + pad, top + height / 2)
                pen.text(middle, text, fill=_text_colour(colour), font=font, anchor='lm')
                placed = np.vstack([placed, label])
                break


def _covered(boxes: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the share of each box, ``(N, 4)``, that a label covers, 0 to 1."""
    sides = np.minimum(boxes[:, 2:], label[2:]) - np.maximum(boxes[:, :2], label[:2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return sides.clip(0).prod(1) / areas.clip(1e-6)


def _with_counts(
    picture: Image.Image,
    objects: Sequence[dict[str, Any]],
    colours: dict[str, tuple[int, int, int]],
    font: ImageFont.FreeTypeFont,
) -> Image.Image:
    """Return the picture with a line below it: colour, name and count of the classes found."""
    line = int(2 * font.size)
    whole = Image.new('RGB', (picture.width, picture.height + line), (32, 32, 32))
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    x, y = 0.5 * font.size, picture.height + line / 2
    counts = Counter(found['class'] for found in objects).most_common()
    if not counts:
        pen.text((x, y), 'nothing found', fill='white', font=font, anchor='lm')
    for number, (name, count) in enumerate(counts):
        text = f'{plain_name(name, 40)} {count}'
        more = f'+{len(counts) - number} classes'
        if x + font.getlength(text + more) + 4 * font.size > picture.width and number:
            pen.text((x, y), more, fill='white', font=font, anchor='lm')
            break
        side = 0.8 * font.size
        pen.rectangle((x, y - side / 2, x + side, y + side / 2), fill=colours[name])
        pen.text((x + 1.5 * side, y), text, fill='white', font=font, anchor='lm')
        x += 1.5 * side + font.getlength(text) + font.size
    return whole
