"""The images of a split with their labels: packed in memory, one a line in a file.

:func:`casvit_mm.classification.data.prepare.prepare_dataset` writes the file, and ``ClassDataset``
reads it. A million images take 0.1 GiB, which forked data workers share.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from casvit_mm.io import replacing

__all__ = ['ImageTable', 'read_table', 'write_table']

_IMAGES = '"images": ['


class ImageTable(Sequence[tuple[str, int]]):
    """Paths and labels of N images.

    Args:
        images: Both of each.

    Attributes:
        labels: int32 ``(N,)``.
    """

    def __init__(self, images: Iterable[tuple[str, int]]) -> None:
        names, ends, labels = bytearray(), array('q', [0]), array('i')
        for path, label in images:
            names += os.fsencode(path)
            ends.append(len(names))
            labels.append(label)
        # Arrays hold no objects of Python, whose counters would copy the pages of a forked worker.
        self._names = np.frombuffer(names, np.uint8)
        self._ends = np.array(ends, np.int64)
        self.labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, int]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, int] | list[tuple[str, int]]:
        """Return path and label of an image, or of several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        label = int(self.labels[index])
        start, end = self._ends[:-1][index], self._ends[1:][index]
        return os.fsdecode(self._names[start:end].tobytes()), label


def write_table(
    file: str | Path, classes: Sequence[str], images: Iterable[tuple[str, int]]
) -> None:
    """Write classes and images as JSON, each image on a line of its own.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(file) as opened:
        opened.write(f'{{"classes": {json.dumps(classes)},\n{_IMAGES}')
        comma = ''
        for image in images:
            opened.write(f'{comma}\n{json.dumps(image)}')
            comma = ','
        opened.write('\n]}\n')


def read_table(file: str | Path) -> ImageTable:
    """Read the images of what :func:`write_table` wrote, one after the other."""
    with open(file) as opened:
        opened.readline()
        if opened.readline().strip() == _IMAGES:
            return ImageTable(_images(opened))
        opened.seek(0)
        return ImageTable(json.load(opened)['images'])  # of an earlier version


def _images(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        if line.startswith('['):
            path, label = json.loads(line.rstrip(',\n'))
            yield path, label
