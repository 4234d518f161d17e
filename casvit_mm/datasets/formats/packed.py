"""Polygons of COCO content kept as the JSON text that they are, a quarter of the memory of lists.

Of 860,000 objects the numbers of the outlines take 2 GiB as Python's lists and 0.3 GiB as text. So
``segmentation`` of content that was read may be ``bytes``, which JSON itself never gives: the text
of polygons that are sound, by :func:`~casvit_mm.datasets.formats.coco_values.is_polygon`. All else
is what it is in the file. :func:`plain_outline` gives the lists, with every number as it stands in
the file; writing a file copies the text.
"""

from __future__ import annotations

import gc
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_values import is_polygon, is_short
from casvit_mm.datasets.scan_memory import ScanMemory

__all__ = [
    'encode_object',
    'no_collection',
    'pack_outlines',
    'plain_object',
    'plain_outline',
    'read_outlines',
    'read_packed',
]

_WINDOW = 1 << 22  # bytes read at a time
_LONGEST = 8  # windows that one outline may take
_BATCH = 2000  # outlines whose numbers are in memory at a time
_KEY = b'"segmentation"'
_START = re.compile(rb'\s*:\s*(?=\[\s*\[)')
_VALUE = re.compile(rb'\[\s*\[[^"{}]*\]\s*\]')
_END = b']]'
_BLANKS = b' \t\r\n'
_NUMBERS = b'0123456789+-.eE,[] \t\r\n'
_LARGEST = 1e9


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles in the block: among millions of entries that takes long.

    What the block makes must hold none.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def plain_outline(segmentation: Any) -> Any:
    """Return a segmentation as JSON has it: polygons as lists, all else unchanged."""
    return json.loads(segmentation) if isinstance(segmentation, bytes) else segmentation


def plain_object(annotation: Any) -> Any:
    """Return an annotation whose segmentation is plain; itself where that is so already."""
    if isinstance(annotation, dict) and isinstance(annotation.get('segmentation'), bytes):
        return {**annotation, 'segmentation': json.loads(annotation['segmentation'])}
    return annotation


def encode_object(annotation: Any) -> str:
    """Return an annotation as JSON on one line."""
    if isinstance(annotation, dict) and isinstance(annotation.get('segmentation'), bytes):
        others = {key: value for key, value in annotation.items() if key != 'segmentation'}
        text = json.dumps(others)
        outline = annotation['segmentation'].decode('ascii')
        return f'{text[:-1]}{", " if others else ""}"segmentation": {outline}}}'
    return json.dumps(annotation)


def pack_outlines(segmentation: Any) -> Any:
    """Return a segmentation as content keeps it: text of sound polygons, all else unchanged."""
    if isinstance(segmentation, list) and segmentation and all(map(is_polygon, segmentation)):
        return json.dumps(segmentation, separators=(',', ':')).encode('ascii')
    return segmentation


def read_outlines(packed: Sequence[bytes]) -> list[list[list[float]]]:
    """Return the polygons of many packed segmentations, a list for each."""
    outlines: list[list[list[float]]] = json.loads(b'[' + b','.join(packed) + b']')
    return outlines


def read_packed(path: Path) -> Any:
    """Read a JSON file, with the polygons of its annotations packed.

    That all polygons of a file are sound is remembered, see :mod:`casvit_mm.datasets.scan_memory`.

    Returns:
        The content; None where something in the file needs another reader: it is not JSON, or
        ``segmentation`` stands elsewhere than in its list of annotations.
    """
    looked_at: list[Any] = []

    def look(path: Path) -> bool:
        content, sound = _read(path, known=False)
        looked_at.append(content)
        return sound

    memory = ScanMemory('sound outlines', look, lambda sound: [1] if sound else None, bool)
    with no_collection():
        (sound,) = memory.recall([path], lambda read, paths: list(map(read, paths)))
        return looked_at[0] if looked_at else _read(path, known=sound)[0]


def _read(path: Path, known: bool) -> tuple[Any, bool]:
    """Return the content or None, and whether all polygons of it are sound, or known to be."""
    found: list[Any] = []
    first = secrets.randbits(60) + 2**60  # a number that no file holds
    try:
        content = json.loads(_without_outlines(path, first, found))
        if known:
            found = [text.translate(None, _BLANKS) for text in found]
        for start in range(0, 0 if known else len(found), _BATCH):
            found[start : start + _BATCH] = _settle(found[start : start + _BATCH])
        sound = all(isinstance(outline, bytes) for outline in found)
        return (content, sound) if _put_back(content, first, found) == len(found) else (None, False)
    except (ValueError, RecursionError):
        return None, False


def _without_outlines(path: Path, first: int, found: list[Any]) -> str:
    """Return the text of a file, with a number in place of each list of polygons, from first on."""
    parts: list[bytes] = []
    left = b''
    with path.open('rb') as file:
        while data := file.read(_WINDOW):
            data = left + data
            # What begins with the last key may end in the next window.
            cut = max(data.rfind(_KEY) - 1, 0)
            if not cut and _KEY in data and len(data) < _LONGEST * _WINDOW:
                left = data
                continue
            cut = cut or max(len(data) - len(_KEY) - 1, 0)
            _cut_outlines(data[:cut], first, found, parts)
            left = data[cut:]
    _cut_outlines(left, first, found, parts)
    text = b''.join(parts)
    parts.clear()
    return text.decode(json.detect_encoding(text), 'surrogatepass')  # as json.loads does


def _cut_outlines(data: bytes, first: int, found: list[Any], parts: list[bytes]) -> None:
    start = 0
    while (key := data.find(_KEY, start)) >= 0:
        begin = key + len(_KEY)
        value = _START.match(data, begin) if data[key - 1 : key] != b'\\' else None
        end = -1
        if value is not None:
            end = data.find(_END, value.end()) + len(_END)
            if end < len(_END) or data.find(b'"', value.end(), end) >= 0:  # written with blanks
                whole = _VALUE.match(data, value.end())
                end = whole.end() if whole else -1
        if value is None or end < 0:
            parts.append(data[start:begin])
            start = begin
            continue
        parts += (data[start : value.end()], b'%d' % (first + len(found)))
        found.append(data[value.end() : end])
        start = end
    parts.append(data[start:])


def _settle(texts: list[bytes]) -> list[Any]:
    """Return for each text itself, without blanks, where its polygons are sound; else its value.

    Raises:
        ValueError: If one is not JSON.
    """
    outlines = read_outlines(texts)
    if len(outlines) != len(texts):
        raise ValueError
    if _are_sound(outlines, b','.join(texts)):
        return [text.translate(None, _BLANKS) for text in texts]
    return [
        text.translate(None, _BLANKS) if all(map(is_polygon, outline)) else outline
        for text, outline in zip(texts, outlines, strict=True)
    ]


def _are_sound(outlines: list[list[list[float]]], text: bytes) -> bool:
    """Return whether all are polygons beyond doubt, by the text of all of them."""
    if text.translate(None, _NUMBERS) or not all(outlines):  # true, null, NaN, or no polygon
        return False
    polygons = list(chain.from_iterable(outlines))
    if set(map(type, polygons)) != {list}:
        return False
    lengths = np.fromiter(map(len, polygons), np.int64, len(polygons))
    if lengths.min() < 6 or (lengths % 2).any():
        return False
    try:
        values = np.fromiter(chain.from_iterable(polygons), np.float64, lengths.sum())
    except (TypeError, ValueError, OverflowError):  # lists, or a number of many digits
        return False
    largest = np.maximum.reduceat(np.abs(values), np.cumsum(lengths) - lengths)
    return bool(largest.max() < _LARGEST and is_short(lengths, largest).all())


def _put_back(content: Any, first: int, found: list[Any]) -> int:
    """Put the outlines into the annotations, and return how many were."""
    annotations = content.get('annotations') if isinstance(content, dict) else None
    done = 0
    for entry in annotations if isinstance(annotations, list) else ():
        value = entry.get('segmentation') if isinstance(entry, dict) else None
        if type(value) is int and first <= value < first + len(found):
            entry['segmentation'] = found[value - first]
            done += 1
    return done
