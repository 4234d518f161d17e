"""COCO files of ours with an index, so that the objects of an image are read when it is learnt.

All annotations of one image stand together, and the index beside the file says where. Processes
that train on it hold no annotation in memory: they share the pages of the file, which the system
keeps for all of them. The index is numbers alone, and stands for one state of the file: size and
date of change tell.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from casvit_mm.datasets.formats.packed import encode_object
from casvit_mm.errors import InputError
from casvit_mm.io import replacing

__all__ = ['IndexedFile', 'State', 'index_of', 'open_indexed', 'state_of', 'write_indexed']

State = tuple[int, int, int]  # version of the index; size and date of change of the file

_VERSION = 1
_PLAIN = {'id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'segmentation'}


def index_of(path: Path) -> Path:
    """Return where the index of a file is."""
    return path.with_name(f'{path.name}.index.npz')


def state_of(file: Path | int) -> State:
    """Return the state of a file, by path or descriptor.

    Raises:
        OSError: If it is not there.
    """
    status = os.stat(file)
    return _VERSION, status.st_size, status.st_mtime_ns


def write_indexed(path: Path, content: dict[str, Any], plain: bool = False) -> None:
    """Write checked COCO content, and its index.

    Args:
        path: The JSON file. It holds all of ``content``, the annotations by image.
        content: ``images``, ``categories`` and, if there are any, ``annotations``.
        plain: Whether ``coco_columns.read_columns`` reads it.

    Raises:
        InputError: If a file cannot be written.
    """
    order = _by_image(content)
    encode = _encode_plain if plain else encode_object
    with replacing(path, 'wb') as file:
        lines = _Lines(file)
        for number, (key, value) in enumerate(content.items()):
            file.write(f'{", " if number else "{"}{json.dumps(key)}: '.encode())
            if key == 'images':
                images = lines.write([json.dumps(entry)] for entry in value)
            elif key == 'annotations':
                objects = lines.write([encode(value[row]) for row in rows] for rows in order)
            else:
                file.write(json.dumps(value).encode())
        file.write(b'}\n')
    if 'annotations' not in content:
        objects = np.zeros((len(content['images']), 2), dtype=np.int64)
    entries, annotations = content['images'], content.get('annotations') or ()
    with replacing(index_of(path), 'wb') as file:
        np.savez(
            file,
            state=np.array(state_of(path), dtype=np.int64),
            ids=np.array([entry['id'] for entry in entries], dtype=np.int64),
            sizes=np.array([(e['width'], e['height']) for e in entries], dtype=np.int64),
            images=images,
            objects=objects,
            counts=np.array([len(rows) for rows in order], dtype=np.int64),
            labels=np.array(
                [annotations[row]['category_id'] for rows in order for row in rows], dtype=np.int64
            ),
            categories=np.frombuffer(json.dumps(content['categories']).encode(), dtype=np.uint8),
        )


def _by_image(content: dict[str, Any]) -> list[list[int]]:
    """Return the positions of the annotations of each image, in the order of the images."""
    place = {entry['id']: i for i, entry in enumerate(content['images'])}
    rows: list[list[int]] = [[] for _ in place]
    for row, annotation in enumerate(content.get('annotations') or ()):
        rows[place[annotation['image_id']]].append(row)
    return rows


def _encode_plain(annotation: dict[str, Any]) -> str:
    """Return what :func:`encode_object` does, in half the time, of an annotation that is plain.

    Numbers and lists of them are written alike in JSON and in Python.
    """
    outline = annotation.get('segmentation')
    if not (isinstance(outline, bytes) and annotation.keys() == _PLAIN):
        return encode_object(annotation)
    a = annotation
    return (
        f'{{"id": {a["id"]}, "image_id": {a["image_id"]}, "category_id": {a["category_id"]}, '
        f'"bbox": {a["bbox"]}, "area": {a["area"]}, "iscrowd": {a["iscrowd"]}, '
        f'"segmentation": {outline.decode("ascii")}}}'
    )


class _Lines:
    """Writes a list of JSON in groups, one on each line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, groups: Iterator[list[str]]) -> np.ndarray:
        """Write the groups, and return where each begins and ends in the file, ``(groups, 2)``."""
        self._file.write(b'[')
        at = self._file.tell()
        first = True
        places = []
        for group in groups:
            if not group:
                places.append((0, 0))
                continue
            text = ', '.join(group).encode()
            mark = b'\n' if first else b',\n'
            self._file.write(mark + text)
            places.append((at + len(mark), at + len(mark) + len(text)))
            at, first = places[-1][1], False
        self._file.write(b'\n]')
        return np.array(places, dtype=np.int64).reshape(-1, 2)


class Record(NamedTuple):
    """An image and its objects, as COCO's lists have them."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]


class IndexedFile:
    """A COCO file whose images are read one by one.

    Args:
        path: The file.
        index: What :func:`write_indexed` wrote.

    Attributes:
        state: Of the file.
        categories: As written.
        ids: Of the images, ``(M,)``.
        sizes: Width and height of the images, ``(M, 2)``.
        counts: Objects of each image, ``(M,)``.
        labels: Ids of the categories of the objects, by image, ``(N,)``.
    """

    def __init__(self, path: Path, index: dict[str, np.ndarray]) -> None:
        self._path = path
        self.state: State = tuple(index['state'].tolist())
        self._images, self._objects = index['images'], index['objects']
        self.categories: list[dict[str, Any]] = json.loads(index['categories'].tobytes())
        self.ids, self.sizes = index['ids'], index['sizes']
        self.counts, self.labels = index['counts'], index['labels']
        self._file = self._open()

    def _open(self) -> IO[bytes]:
        try:
            file = self._path.open('rb', buffering=0)
        except OSError as error:
            raise InputError(f'{self._path} cannot be read: {error.strerror}') from error
        if state_of(file.fileno()) != self.state:
            file.close()
            raise InputError(
                f'{self._path} has changed since its index was written. Start again; two trainings '
                'need two work dirs.'
            )
        return file

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Record:
        """Return an image, by its position in the list of images, and its objects."""
        image = json.loads(self._read(self._images[row]))
        return Record(image, json.loads(b'[' + self._read(self._objects[row]) + b']'))

    def _read(self, place: np.ndarray) -> bytes:
        start, end = place.tolist()
        if hasattr(os, 'pread'):  # shares no position with the processes that were forked
            return os.pread(self._file.fileno(), end - start, start)
        self._file.seek(start)
        return self._file.read(end - start)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != '_file'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._file = self._open()

    def __deepcopy__(self, memo: dict[int, Any]) -> IndexedFile:
        return self  # nothing of it changes


def open_indexed(path: str | Path) -> IndexedFile | None:
    """Return a file with its index; None if it has none, or one of another state of the file."""
    path = Path(path)
    try:
        with np.load(index_of(path), allow_pickle=False) as found:
            index = dict(found)
        return IndexedFile(path, index)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, InputError):
        return None
