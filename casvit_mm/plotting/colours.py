"""Colours of classes as a description gives them."""

from __future__ import annotations

from typing import Any

from PIL import ImageColor

from casvit_mm.deploy.canvas import RGB

__all__ = ['read_colour']


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
