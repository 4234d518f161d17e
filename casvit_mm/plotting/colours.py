"""Colours of classes: read from a description, or drawn so that neighbours differ."""

from __future__ import annotations

import colorsys
from typing import Any

from PIL import ImageColor

__all__ = ['RGB', 'distinct_colours', 'read_colour']

RGB = tuple[int, int, int]
_TONES = ((0.9, 1.0), (0.9, 0.7), (0.5, 1.0))  # saturation and value


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


def read_colour(value: Any) -> RGB:
    """Return the colour that ``[70, 130, 180]``, ``'#4682b4'`` or ``steelblue`` stands for.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(value, str):
        red, green, blue = ImageColor.getrgb(value)[:3]
        return red, green, blue
    is_byte = [type(part) is int and 0 <= part <= 255 for part in value or ()]
    if is_byte != [True] * 3:
        raise ValueError(f'{value!r} is not three values from 0 to 255')
    red, green, blue = value
    return red, green, blue
