"""What pictures of predictions share: colours of classes, a font, sizes, a line of what was found.

Text needs Pillow, which is imported where something is written; all else NumPy and OpenCV alone.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from casvit_mm.errors import InputError

if TYPE_CHECKING:
    from PIL import Image, ImageFont

__all__ = [
    'RGB',
    'add_line',
    'blend',
    'distinct_colours',
    'fit_side',
    'load_font',
    'paint_labels',
    'text_colour',
]

RGB = tuple[int, int, int]
_TONES = ((0.9, 1.0), (0.9, 0.7), (0.5, 1.0))  # saturation and value
_CLASS_SHARE = 0.75  # part of a class's colour in a painted pixel; the rest is the image in grey
_GROUND = (32, 32, 32)


def distinct_colours(count: int) -> tuple[RGB, ...]:
    """Return a colour per class; neighbours in the list are far apart in hue."""
    colours = []
    for i in range(count):
        # Multiples of the golden ratio spread evenly, however many there are; those that come close
        # (5, 8, 13 apart) differ in tone.
        saturation, value = _TONES[i % len(_TONES)]
        red, green, blue = colorsys.hsv_to_rgb((0.02 + i * 0.61803) % 1, saturation, value)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)


def text_colour(colour: RGB) -> str:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue = colour
    return 'black' if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else 'white'


@lru_cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return a font of ``size`` pixels that knows Latin, Greek and Cyrillic.

    It comes with matplotlib; without matplotlib it is Pillow's own, which knows Latin.

    Raises:
        InputError: If Pillow is not installed.
    """
    if find_spec('PIL') is None:
        raise InputError('drawing needs Pillow, which is not installed: pip install pillow')
    from PIL import ImageFont

    matplotlib = find_spec('matplotlib')
    if matplotlib is not None and matplotlib.origin:
        path = Path(matplotlib.origin).with_name('mpl-data') / 'fonts/ttf/DejaVuSans.ttf'
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # as for every size that is named
    return font


def fit_side(image: np.ndarray, least: int, most: int | None = None) -> np.ndarray:
    """Return an image whose longer side is at least ``least`` pixels, and ``most`` at most.

    It is enlarged by a whole factor, so that its pixels stay squares of one size.

    Args:
        image: uint8 ``(H, W, 3)``.
        least: Minimum of the longer side.
        most: Maximum of it; None sets none.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if most is not None and longer > most:
        size = max(round(width * most / longer), 1), max(round(height * most / longer), 1)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    whole = -(-least // longer)
    return cv2.resize(image, (width * whole, height * whole), interpolation=cv2.INTER_CUBIC)


def blend(colours: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return class colours ``(H, W, 3)`` over grey pixels ``(H, W)``, uint8."""
    share = round(256 * _CLASS_SHARE)
    mixed = colours.astype(np.uint16) * share + grey[..., None].astype(np.uint16) * (256 - share)
    return (mixed // 256).astype(np.uint8)


def paint_labels(pixels: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return class colours over an image in grey.

    Args:
        pixels: RGB, uint8 ``(H, W, 3)``.
        labels: Numbers of the classes ``(H, W)``.
        colours: RGB of each class, uint8 ``(C, 3)``.

    Returns:
        RGB, uint8 ``(H, W, 3)``.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return blend(colours[labels], grey)


def add_line(
    picture: Image.Image,
    entries: Sequence[tuple[str, RGB | None]],
    font: ImageFont.FreeTypeFont,
    empty: str = 'nothing found',
) -> Image.Image:
    """Return a picture with a line below it.

    Args:
        picture: RGB.
        entries: Texts, each with the colour of a square before it, or None for no square. Those
            for which there is no room are counted.
        font: Of the line.
        empty: What the line says where there is no entry.
    """
    from PIL import Image, ImageDraw

    line = int(2 * font.size)
    whole = Image.new('RGB', (picture.width, picture.height + line), _GROUND)
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    x, y = 0.5 * font.size, picture.height + line / 2
    if not entries:
        pen.text((x, y), empty, fill='white', font=font, anchor='lm')
    for number, (text, colour) in enumerate(entries):
        more = f'+{len(entries) - number} classes'
        if x + font.getlength(text + more) + 4 * font.size > picture.width and number:
            pen.text((x, y), more, fill='white', font=font, anchor='lm')
            break
        side = 0.8 * font.size
        if colour is not None:
            pen.rectangle((x, y - side / 2, x + side, y + side / 2), fill=colour)
            x += 1.5 * side
        pen.text((x, y), text, fill='white', font=font, anchor='lm')
        x += font.getlength(text) + font.size
    return whole
