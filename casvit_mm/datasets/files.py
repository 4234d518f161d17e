"""Names: which suffixes are images, what a folder or a list holds, which names are alike."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from casvit_mm.errors import InputError

__all__ = ['IMAGE_SUFFIXES', 'find_files', 'plain_name', 'read_list', 'stem']

IMAGE_SUFFIXES = {
    *('.avif', '.bmp', '.gif', '.jp2', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.ppm'),
    *('.tif', '.tiff', '.webp'),
}


def read_list(path: Path, where: str) -> dict[str, int]:
    """Read a text file with one name per line.

    Args:
        path: The file.
        where: What names it, for messages.

    Returns:
        The number of the line, counted from 1, by name; in the order of the file.

    Raises:
        InputError: If the file is missing, empty, or names something twice.
    """
    if not path.is_file():
        raise InputError(f'list {path} ({where}) does not exist')
    try:
        lines = [line.strip() for line in path.read_text('utf-8-sig').splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f'list {path} ({where}) is no text in UTF-8: {error}') from error
    names = [line for line in lines if line]
    twice = [line for line, count in Counter(names).items() if count > 1]
    if not names or twice:
        reason = f'names {twice[0]!r} twice' if twice else 'is empty'
        raise InputError(f'list {path} ({where}) {reason}; it needs one image per line')
    return {line: number for number, line in enumerate(lines, 1) if line}


def find_files(folder: Path, known: set[str], suffix: str | None = None) -> dict[str, list[Path]]:
    """Find the files in a folder and in those below it, without hidden ones, in order.

    Args:
        folder: Where to look; links are followed.
        known: Suffixes of the files to take, in lower case, e.g. ``'.png'``.
        suffix: How their names end beside that; None for no such condition.

    Returns:
        The files by their path from ``folder`` without suffix.
    """
    found: dict[str, list[Path]] = {}
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] != '.')
        for name in sorted(name for name in names if name[0] != '.'):
            path = Path(parent, name)
            if path.suffix.lower() not in known or not name.endswith(suffix or ''):
                continue
            relative = path.relative_to(folder).as_posix()
            key = relative.removesuffix(suffix) if suffix else os.path.splitext(relative)[0]
            found.setdefault(key, []).append(path)
    return found


def stem(name: str) -> str:
    """Return a name without the suffix of an image or annotation file, whose dots may be many."""
    start, suffix = os.path.splitext(name)
    return start if suffix.lower() in {*IMAGE_SUFFIXES, '.xml'} else name


def plain_name(name: str) -> str:
    """Return the name of a class without what names of one class may differ in: case and blanks."""
    return re.sub(r'[\s_-]+', ' ', name).strip().casefold()
