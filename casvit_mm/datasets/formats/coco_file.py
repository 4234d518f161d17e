"""Reads a COCO annotation file into one spelling of what exporters write in several.

What is checked, learnt and scored is this content, never the file itself: mmdet and pycocotools
take ``"iscrowd": "0"`` for true, and of an object with ``ignore: 1`` mmdet makes background while
pycocotools counts it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from casvit_mm.datasets.formats.foreign import name_content, name_file
from casvit_mm.datasets.formats.packed import no_collection, read_packed
from casvit_mm.errors import InputError

__all__ = ['SECTIONS', 'read_annotations', 'read_plain_annotations', 'settle']

SECTIONS = ('images', 'annotations', 'categories')

_WHOLE = {
    'images': ('id', 'width', 'height'),
    'annotations': ('id', 'image_id', 'category_id'),
    'categories': ('id',),
}
_FLAGS = ('iscrowd', 'ignore')
_TRUE = {'1', '1.0', 'true', 'yes'}
_FALSE = {'0', '0.0', 'false', 'no', '', 'none', 'null'}
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_annotations(path: str | Path, where: str) -> dict[str, Any]:
    """Read a COCO annotation file, with numbers and flags as :func:`settle` writes them.

    Sound polygons are text, see :mod:`casvit_mm.datasets.formats.packed`.

    Raises:
        InputError: If it is missing, not JSON, or holds no object.
    """
    content = _read(Path(path), where)[0]
    settle(content)
    return content


def read_plain_annotations(path: str | Path, where: str) -> dict[str, Any]:
    """Read a COCO annotation file that mmdet itself will read.

    Raises:
        InputError: As :func:`read_annotations`; or if mmdet would not read it likewise.
    """
    content, marked = _read(Path(path), where)
    unlike = settle(content)
    if marked:
        unlike['a byte order mark'] += 1
    if unlike:
        found = ', '.join(f'{what} ({times} times)' for what, times in unlike.items())
        raise InputError(
            f'{where} holds {found}, which mmdet takes for something else. Correct the file, or '
            'name it in a dataset.yaml and use that by --data, which reads it as it is meant '
            '(docs/reference/data_formats.md).'
        )
    return content


def _read(path: Path, where: str) -> tuple[dict[str, Any], bool]:
    """Return the content, and whether it starts with a byte order mark."""
    if not path.is_file():
        raise InputError(f'{where} does not exist')
    content = read_packed(path)
    if content is None:
        content = _read_whole(path, where)
    if (named := name_content(content)) is not None:
        raise InputError(f'{where} is {named}.')
    if not isinstance(content, dict):
        raise InputError(
            f'{where} holds a {type(content).__name__}, not an object with {", ".join(SECTIONS)}. '
            'Is it a file of results? Name the ground truth.'
        )
    with path.open('rb') as file:
        return content, file.read(4).startswith(_MARKS)


def _read_whole(path: Path, where: str) -> Any:
    """Return what a file holds that is not written as annotations are."""
    try:
        with no_collection():
            return json.loads(path.read_bytes())  # knows byte order marks, of UTF-16 as well
    except (ValueError, RecursionError) as error:  # also where a number has too many digits
        named = name_file(path)
        reason = f'is not JSON: {error}. Export it again' if named is None else f'is {named}'
        raise InputError(f'{where} {reason}.') from error


def settle(content: dict[str, Any]) -> Counter[str]:
    """Write numbers and flags in the way that everything after it expects, in place.

    Whole numbers written as ``1.0`` or ``"1"`` become integers. ``iscrowd`` and ``ignore`` become 0
    or 1, and an object to be ignored becomes a crowd, which neither training nor evaluation counts;
    ``ignored`` keeps that it was one. What has no such meaning stays, for the checks to find.

    Returns:
        What was changed, and how often.
    """
    changed: Counter[str] = Counter()
    for section, fields in _WHOLE.items():
        entries = _entries(content, section)
        for field in fields:
            if not {float, str} & set(map(type, [entry.get(field) for entry in entries])):
                continue  # of nearly every file, and a tenth of the time
            for entry in entries:
                value = entry.get(field)
                number = _whole(value) if isinstance(value, (float, str)) else None
                if number is not None:
                    changed[f'{section}.{field} {_spelling(value)}'] += 1
                    entry[field] = number
    annotations = _entries(content, 'annotations')
    flags = [annotation.get('iscrowd', 0) for annotation in annotations]
    plain = set(map(type, flags)) <= {int} and set(flags) <= {0, 1}
    if not plain or any('ignore' in annotation for annotation in annotations):
        for annotation in annotations:
            _settle_flags(annotation, changed)
    return changed


def _settle_flags(annotation: dict[str, Any], changed: Counter[str]) -> None:
    for field in _FLAGS:
        value = annotation.get(field, 0)
        flag = _flag(value)
        if flag is not None and not (type(value) is int and value == flag):
            changed[f'annotations.{field} {_spelling(value)}'] += 1
            annotation[field] = flag
    if annotation.get('ignore') == 1:
        changed['annotations with ignore: 1'] += 1
        del annotation['ignore']
        annotation.update(iscrowd=1, ignored=1)


def _spelling(value: Any) -> str:
    return f'as {type(value).__name__}'


def _entries(content: dict[str, Any], section: str) -> list[dict[str, Any]]:
    entries = content.get(section)
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _whole(value: float | str) -> int | None:
    """Return the whole number that is meant; None if it is none."""
    if isinstance(value, str):
        found = re.fullmatch(r'\s*([+-]?\d{1,18})(?:\.0*)?\s*', value, re.ASCII)
        return int(found[1]) if found else None
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def _flag(value: Any) -> int | None:
    """Return 0 or 1 as a flag means it; None if it means neither."""
    if value is None:
        return 0
    if isinstance(value, str):
        word = value.strip().lower()
        return 1 if word in _TRUE else 0 if word in _FALSE else None
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return int(value)
    return None
