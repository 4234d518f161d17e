"""Sheets of small pictures with their class below, to look over many images at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from casvit_mm.deploy.base import write_png
from casvit_mm.deploy.canvas import load_font
from casvit_mm.errors import plain_name

__all__ = ['PAGE', 'ContactSheets']

_COLUMNS, _ROWS = 8, 6
PAGE = _COLUMNS * _ROWS  # images
_SIDE = 180  # pixels of a tile
_FONT, _TEXT = 13, 40  # pixels: of the letters, and of the two lines below a tile
_GAP = 8
_GROUND = 32


class ContactSheets:
    """Pages of 48 images, ``sheets/001.png`` on.

    Args:
        folder: Folder of the results.
        first: Number of the first page.
    """

    def __init__(self, folder: Path, first: int = 1) -> None:
        self.folder = folder / 'sheets'
        self._tiles: list[tuple[np.ndarray, str, str]] = []
        self._next = first

    def add(self, pixels: np.ndarray, file: str, name: str, score: float) -> None:
        """Add an image; a page that is full is written.

        Args:
            pixels: BGR, uint8 ``(H, W, 3)``.
            file: Name of the file.
            name: Its class.
            score: Probability of the class.

        Raises:
            InputError: If a page cannot be written.
        """
        factor = _SIDE / max(pixels.shape[:2])
        size = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        small = cv2.resize(pixels, size, interpolation=method)
        self._tiles.append((small, plain_name(file, 24), f'{plain_name(name, 20)} {score:.2f}'))
        if len(self._tiles) == PAGE:
            self._write()

    def finish(self) -> None:
        """Write the last page, if there is something on it.

        Raises:
            InputError: If it cannot be written.
        """
        if self._tiles:
            self._write()

    def _write(self) -> None:
        from PIL import Image, ImageDraw

        columns = min(_COLUMNS, len(self._tiles))
        rows = -(-len(self._tiles) // columns)
        width, height = _SIDE + _GAP, _SIDE + _TEXT + _GAP
        shape = (rows * height + _GAP, columns * width + _GAP, 3)
        page = np.full(shape, _GROUND, np.uint8)
        for number, (pixels, *_) in enumerate(self._tiles):
            top, left = (number // columns * height, number % columns * width)
            top += _GAP + (_SIDE - pixels.shape[0]) // 2
            left += _GAP + (_SIDE - pixels.shape[1]) // 2
            page[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        picture = Image.fromarray(page[..., ::-1])
        pen, font = ImageDraw.Draw(picture), load_font(_FONT)
        for number, (_, file, name) in enumerate(self._tiles):
            left = _GAP + number % columns * width
            top = number // columns * height + _GAP + _SIDE + 4
            pen.text((left, top), name, fill='white', font=font)
            pen.text((left, top + _FONT + 4), file, fill=(150, 150, 150), font=font)
        self._tiles.clear()
        write_png(self.folder / f'{self._next:03d}.png', np.asarray(picture)[..., ::-1])
        self._next += 1
