"""All sources of a prediction, of which there may be millions, in little memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from casvit_mm.deploy.video_writing import drawn_suffix
from casvit_mm.prediction.sources import Source

__all__ = ['SourceList']


class SourceList:
    """Sources as lines of text, images before all others; a source is made when it is asked for.

    A million images with paths of 60 letters take about 150 MB.

    Args:
        text: The lines, as :meth:`gather` makes them.

    Attributes:
        num_images: Images among the sources.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        letters = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(letters == ord('\n')) + 1
        self._bounds = np.concatenate([[0], ends])
        starts = self._bounds[:-1]
        self.num_images = int((letters[starts + 1] == ord('0')).sum())  # '[0, ...' is an image

    @classmethod
    def gather(cls, sources: Iterable[Source]) -> SourceList:
        """Return the list of some sources, and settle where each is drawn."""
        taken: set[str] = set()
        images, others = bytearray(), bytearray()
        suffix = drawn_suffix()
        for source in sources:
            is_image = source.kind == 'image'
            drawn = _free_path(source.name, '.png' if is_image else suffix, taken)
            given = isinstance(source.origin, Path)
            origin = str(source.origin) if given else source.origin
            line = [int(not is_image), source.kind, given, origin, source.name, drawn]
            (images if is_image else others).extend(f'{json.dumps(line)}\n'.encode())
        return cls(bytes(images + others))

    def __reduce__(self) -> tuple[type[SourceList], tuple[bytes]]:
        """Return what another process makes the list of."""
        return SourceList, (self._text,)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[Source]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Source:
        _, kind, is_file, origin, name, drawn = json.loads(self.text(index, index + 1))
        return Source(Path(origin) if is_file else origin, name, kind, drawn)

    def text(self, start: int, stop: int) -> bytes:
        """Return what tells the sources of a range from any others."""
        return self._text[self._bounds[start] : self._bounds[stop]]


def _free_path(name: str, suffix: str, taken: set[str]) -> str:
    """Return a path with ``suffix`` for what is drawn of ``name``, and of no other source."""
    path = name if os.path.splitext(name)[1].lower() == suffix else name + suffix
    # Pictures and videos have a folder each, and suffixes that differ.
    while path in taken:  # a.jpg.png beside a.jpg
        path += suffix
    taken.add(path)
    return path
