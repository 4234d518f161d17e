"""Which tiles an image larger than the network's input is predicted by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from casvit_mm.errors import InputError

__all__ = ['Place', 'Tiles', 'read_tiles']

_LEAST = 64  # pixels; two positions of the network's last stage
_OVERLAP = 0.2


class Place(NamedTuple):
    """Where a tile lies in its image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Tiles:
    """Squares that overlap and cover an image.

    Attributes:
        side: Side in pixels of the image.
        overlap: Share of the side that neighbours have in common, from 0 to below 1. An object that
            is smaller than the overlap is whole in at least one tile.
        at_once: Tiles that go through the model together.

    Raises:
        InputError: If one of them is out of range.
    """

    side: int
    overlap: float = _OVERLAP
    at_once: int = 1

    def __post_init__(self) -> None:
        if type(self.side) is not int or self.side < _LEAST:
            raise InputError(
                f'--tile {self.side}: the side must be a whole number of pixels, from {_LEAST}; '
                'the size that the model was trained with is a good choice'
            )
        if not 0 <= self.overlap < 1:
            raise InputError(
                f'--overlap {self.overlap}: it is a share of the tile, from 0 to below 1; 0.2 is '
                'a fifth'
            )

    def cut(self, height: int, width: int) -> bool:
        """Return whether an image needs more than one tile."""
        return max(height, width) > self.side

    def places(self, height: int, width: int) -> Iterator[Place]:
        """Yield the tiles of an image, row by row.

        The last one of a row or column is moved back into the image, as mmseg's windows are, so
        that all tiles have one size. A side shorter than a tile is taken whole.
        """
        for top in self.starts(height):
            for left in self.starts(width):
                yield Place(top, left, min(self.side, height), min(self.side, width))

    def starts(self, length: int) -> list[int]:
        """Return where tiles begin along an axis of an image."""
        step = max(1, self.side - round(self.side * self.overlap))
        last = max(0, length - self.side)
        return [*range(0, last, step), last]


def read_tiles(tile: Any, overlap: Any, at_once: int = 1) -> Tiles | None:
    """Return the tiles that two options ask for; None if they ask for none.

    Raises:
        InputError: If they are out of range, or only the overlap is given.
    """
    if tile is None:
        if overlap is not None:
            raise InputError('--overlap is about tiles; give their side: --tile 640')
        return None
    return Tiles(tile, _OVERLAP if overlap is None else overlap, at_once)
