"""Names of files that fit up to case, backslashes, percent codes, Unicode, folder or suffix."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from casvit_mm.datasets.files import list_images

__all__ = ['images_below', 'near_names']


def near_names(wanted: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """Return for names that are not there which one is, and in what the two differ.

    Args:
        wanted: Names as they are written somewhere, maybe with folders.
        there: Names of the files, likewise, with ``/`` between folders.

    Returns:
        By name what a message can add, such as ``'Im.jpg is there, and differs in case'``; nothing
        for a name that no file is near to, or that several are equally near to.
    """
    tables: list[dict[str, list[str]]] = [{}, {}, {}]
    for name in there:
        for table, key in zip(tables, _keys(_plain(name)), strict=True):
            table.setdefault(key, []).append(name)
    hints = {}
    for name in wanted:
        keys = _keys(_plain(_written(name)))
        near = next((t[key] for t, key in zip(tables, keys, strict=True) if key in t), [])
        if len(near) == 1:
            hints[name] = f'{near[0]} is there, and differs in {_differences(name, near[0])}'
    return hints


def images_below(folder: Path) -> list[str]:
    """Return the paths from ``folder`` of the images in it and below, with ``/``."""
    return [Path(path).relative_to(folder).as_posix() for path in list_images(folder)]


def _written(name: str) -> str:
    return unquote(name.replace('\\', '/'))


def _plain(name: str) -> str:
    return unicodedata.normalize('NFC', posixpath.normpath(name)).casefold()


def _keys(plain: str) -> tuple[str, str, str]:
    """Return the whole name, the name without folder, and that without suffix."""
    last = posixpath.basename(plain)
    return plain, last, posixpath.splitext(last)[0]


def _differences(name: str, near: str) -> str:
    found = []
    if '\\' in name:
        found.append('backslashes for /')
    if unquote(name) != name:
        found.append('percent codes (%20 is a blank)')
    (folder, last), (near_folder, near_last) = (
        posixpath.split(posixpath.normpath(text)) for text in (_written(name), near)
    )
    if _plain(folder) != _plain(near_folder):
        found.append('the folder')
    elif folder != near_folder:
        found.append('case or Unicode form of the folder')
    composed = [unicodedata.normalize('NFC', text) for text in (last, near_last)]
    if composed != [last, near_last] and last != near_last:
        found.append('Unicode form (accents as characters of their own)')
    (start, suffix), (near_start, near_suffix) = (posixpath.splitext(text) for text in composed)
    if suffix.casefold() != near_suffix.casefold():
        found.append('the suffix')
    if start != near_start or (suffix != near_suffix and 'the suffix' not in found):
        found.append('case')
    return ' and '.join(found)
