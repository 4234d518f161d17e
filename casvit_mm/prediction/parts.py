"""A part of a prediction on many files: which sources it is about, and what was found in them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casvit_mm.prediction.contact_sheets import PAGE
from casvit_mm.prediction.source_list import SourceList
from casvit_mm.prediction.totals import Totals

__all__ = ['Part', 'Plan']


@dataclass
class Part:
    """Results of some sources.

    Attributes:
        images: Images of the JSON, each as its text there.
        videos: Videos, likewise.
        rows: Lines of the CSV.
        unreadable: Sources that cannot be read, with the reason.
        labels: File, name and labels of images, for a labelling tool.
        unlabelled: Images and frames that are no files, for which there are none.
        totals: Counts.
    """

    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    rows: str = ''
    unreadable: list[dict[str, str]] = field(default_factory=list)
    labels: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    unlabelled: int = 0
    totals: Totals = field(default_factory=Totals)

    def to_text(self) -> str:
        """Return what :meth:`from_text` reads."""
        return json.dumps({**vars(self), 'totals': self.totals.to_json()})

    @classmethod
    def from_text(cls, text: str) -> Part:
        """Return the part that was written.

        Raises:
            ValueError: If it is none; TypeError and KeyError likewise.
        """
        content = json.loads(text)
        return cls(**{**content, 'totals': Totals.from_json(content['totals'])})


class Plan:
    """Which sources make which part: neighbouring images, or a single video or stream.

    Args:
        sources: All of them.
        batch_size: Images that go through the model at once.

    Attributes:
        num_image_parts: Parts of images, which come first.
    """

    def __init__(self, sources: SourceList, batch_size: int) -> None:
        self.sources = sources
        # Whole pages of contact sheets, and few batches that are not full.
        self._size = PAGE * max(1, -(-4 * batch_size // PAGE))
        self.num_image_parts = -(-sources.num_images // self._size)

    def __len__(self) -> int:
        return self.num_image_parts + len(self.sources) - self.sources.num_images

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first source of a part, and the one after its last."""
        images = self.sources.num_images
        if number < self.num_image_parts:
            return number * self._size, min((number + 1) * self._size, images)
        first = images + number - self.num_image_parts
        return first, first + 1

    def key(self, number: int) -> str:
        """Return what changes with the sources of a part, and with their files."""
        start, stop = self.bounds(number)
        digest = hashlib.sha256(self.sources.text(start, stop))
        for index in range(start, stop):
            digest.update(_state_of(self.sources[index].origin).encode())
        return digest.hexdigest()[:24]


def _state_of(origin: Path | str | int) -> str:
    if not isinstance(origin, Path):
        return ''
    try:
        status = origin.stat()
    except OSError:
        return 'missing'
    return f'{status.st_size} {status.st_mtime_ns}\n'
