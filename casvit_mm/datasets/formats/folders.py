"""Where tools put the files of a dataset: splits told by names, and strings sought in files."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from casvit_mm.datasets.files import find_images
from casvit_mm.datasets.formats.gathering import split_of
from casvit_mm.errors import InputError

__all__ = ['by_split', 'first_text', 'has_texts', 'holds_images', 'split_folders', 'split_in']


def split_in(name: str) -> str | None:
    """Return the split that a part of a path says, like ``instances_val2017`` or ``train/a``."""
    found = [split_of(word) for word in re.split(r'[^A-Za-z]+', name)]
    return next((split for split in reversed(found) if split), None)


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders in a folder that are named after splits, by split."""
    found: dict[str, Path] = {}
    for child in sorted(folder.iterdir()):
        if child.is_dir() and (split := split_of(child.name)):
            found.setdefault(split, child)
    return found


def by_split(
    root: Path, sources: Sequence[tuple[Path, dict[str, str]]], what: str
) -> dict[str, Any] | None:
    """Return the fields of a description of files of annotations, each told by its name.

    Args:
        root: The folder.
        sources: Each file with its source.
        what: What the files are, for messages.

    Raises:
        InputError: If several files are of one split, or none is told from the others.
    """
    if not sources:
        return None
    if len(sources) == 1:
        return dict(root=str(root), data=[sources[0][1]])
    found: dict[str, tuple[Path, dict[str, str]]] = {}
    for path, source in sources:
        name = path.relative_to(root).as_posix()
        split = split_in(name)
        if split is None or split in found:
            other = sources[0][0] if split is None else found[split][0]
            raise InputError(
                f'{root} (--data) holds several {what}, {other.relative_to(root)} and {name}, and '
                'their names do not say which is train, val and test. Name them in a dataset.yaml '
                '(docs/reference/data_formats.md).'
            )
        found[split] = path, source
    return dict(root=str(root), **{split: [source] for split, (_, source) in found.items()})


def has_texts(path: Path, texts: Iterable[bytes]) -> bool:
    """Return whether a file, of any size, holds all of some texts."""
    try:
        with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(data.find(text) >= 0 for text in texts)
    except (OSError, ValueError):  # it is empty
        return False


def first_text(path: Path, field: str) -> str | None:
    """Return the first text that a JSON file, of any size, has under ``field``."""
    pattern = rb'"%s"\s*:\s*("(?:[^"\\]|\\.)*")' % field.encode()
    try:
        with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = re.search(pattern, data)
            return None if found is None else json.loads(found[1])
    except (OSError, ValueError):
        return None


def holds_images(folder: Path) -> bool:
    """Return whether images lie in a folder or below it."""
    return folder.is_dir() and bool(find_images(folder))
