"""Names: which suffixes are images, what a folder or a list holds, which names are alike."""

from __future__ import annotations

import codecs
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from casvit_mm.errors import InputError

__all__ = [
    'IMAGE_SUFFIXES',
    'SPLIT_SUFFIX',
    'UNREAD_SUFFIXES',
    'describe_unused',
    'find_files',
    'find_images',
    'is_listed',
    'list_images',
    'plain_name',
    'prefer_readable',
    'read_list',
    'read_text',
    'stem',
]

IMAGE_SUFFIXES = {
    *('.avif', '.bmp', '.gif', '.jfif', '.jp2', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png'),
    *('.ppm', '.tif', '.tiff', '.webp'),
}
# Images too, which OpenCV, and with it training, does not read, or reads a thumbnail of.
UNREAD_SUFFIXES = {
    *('.arw', '.cr2', '.cr3', '.dng', '.exr', '.heic', '.heif', '.jxl', '.nef', '.orf', '.psd'),
    *('.raf', '.rw2', '.tga', '.xcf'),
}

_OF_SYSTEMS = ('Thumbs.db', 'desktop.ini')
SPLIT_SUFFIX = '.split.json'  # of our record of how a set was taken apart
_KINDS = 4  # that a message lists


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
        lines = [line.strip() for line in read_text(path).splitlines()]
    except UnicodeError as error:
        raise InputError(f'list {path} ({where}) is no text in UTF-8: {error}') from error
    names = [line for line in lines if line]
    twice = [line for line, count in Counter(names).items() if count > 1]
    if not names or twice:
        reason = f'names {twice[0]!r} twice' if twice else 'is empty'
        raise InputError(f'list {path} ({where}) {reason}; it needs one image per line')
    return {line: number for number, line in enumerate(lines, 1) if line}


def read_text(path: Path) -> str:
    """Read text in UTF-8 or, as Windows tells by its first bytes, in UTF-16.

    Raises:
        UnicodeError: If it is neither.
    """
    data = path.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode('utf-16' if marked else 'utf-8-sig')


def find_files(folder: Path, known: set[str], suffix: str | None = None) -> dict[str, list[Path]]:
    """Find the files in a folder and in those below it, without hidden ones, in order.

    Args:
        folder: Where to look; links are followed, but for those to a folder that they lie in.
        known: Suffixes of the files to take, in lower case, e.g. ``'.png'``.
        suffix: How their names end beside that; None for no such condition.

    Returns:
        The files by their path from ``folder`` without suffix.
    """
    found: dict[str, list[Path]] = {}
    for in_folder in _find_by_folder(folder, known, suffix):
        found |= in_folder
    return found


def find_images(folder: Path, suffix: str | None = None) -> dict[str, list[Path]]:
    """Find the images in a folder and in those below it, as :func:`find_files` does.

    Images of formats that nobody reads are among them, for the look at the images to refuse, unless
    one of the same name that can be read is beside.

    Args:
        folder: Where to look.
        suffix: How their names end; None for any suffix of an image.
    """
    return prefer_readable(find_files(folder, IMAGE_SUFFIXES | UNREAD_SUFFIXES, suffix))


def list_images(folder: Path) -> list[str]:
    """Return the paths of the images that :func:`find_images` finds, in its order.

    They take a quarter of its memory, 12 MB of 120,000 images.
    """
    paths: list[str] = []
    for found in _find_by_folder(folder, IMAGE_SUFFIXES | UNREAD_SUFFIXES, None):
        paths += map(str, itertools.chain.from_iterable(prefer_readable(found).values()))
    return paths


def prefer_readable(found: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Return images by name, those of formats that nobody reads only where there is no other."""
    readable = {
        name: [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
        for name, paths in found.items()
    }
    return {name: readable[name] or paths for name, paths in found.items()}


def describe_unused(
    folders: Iterable[Path], used: Callable[[Path], bool], known: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield for each folder how many files of it, and of those below, nobody reads.

    Args:
        folders: Where to look; one that lies in another is counted with that. Hidden files, those
            that Windows and macOS put into folders, and our record of a split do not count.
        used: Whether a file is read, by its path.
        known: Suffixes, in lower case, of files that are read in any case.

    Yields:
        The folder, and what is to be said of it; nothing of one of which all is read.
    """
    folders = set(folders)
    for folder in sorted(folders):
        if any(other != folder and folder.is_relative_to(other) for other in folders):
            continue
        found = [
            parent / name
            for parent, _, names in _walk(folder)
            for name in names
            if os.path.splitext(name)[1].lower() not in known
            and not name.endswith((*_OF_SYSTEMS, SPLIT_SUFFIX))
            and not used(parent / name)
        ]
        if found:
            kinds = Counter(path.suffix or 'without suffix' for path in found)
            counts = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(_KINDS))
            more = ', ...' if len(kinds) > _KINDS else ''
            first = found[0].relative_to(folder).as_posix()
            message = f'{len(found)} file(s) of {folder} are not used: {counts}{more}'
            yield str(folder), f'{message}; first {first}'


def is_listed(folder: Path, name: str, listing: dict[str, set[str]]) -> bool:
    """Return whether a file is there and no link that leads nowhere, by one look at its folder.

    Args:
        folder: What the name counts from.
        name: Of the file.
        listing: The names in the folders that were looked at; empty at first.
    """
    below, last = os.path.split(name)
    if below not in listing:
        try:
            with os.scandir(folder / below) as entries:
                listing[below] = {entry.name for entry in entries if entry.is_file()}
        except (OSError, ValueError):  # also of a name that no file can have
            listing[below] = set()
    return last in listing[below]


def _find_by_folder(
    folder: Path, known: set[str], suffix: str | None
) -> Iterator[dict[str, list[Path]]]:
    """Yield for each folder what :func:`find_files` finds in it."""
    for parent, below, names in _walk(folder):
        found: dict[str, list[Path]] = {}
        for name in names:
            start, ending = os.path.splitext(name)
            if ending.lower() not in known or not name.endswith(suffix or ''):
                continue
            key = below + (name.removesuffix(suffix) if suffix else start)
            found.setdefault(key, []).append(parent / name)
        yield found


def _walk(folder: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Yield a folder and those below it, without hidden ones, in order.

    Yields:
        The folder, what stands before its names in a path from ``folder``, and its files.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if name[0] != '.' and not _leads_up(parent, name)
        )
        below = Path(parent).relative_to(folder).as_posix()
        start = '' if below == '.' else f'{below}/'
        yield Path(parent), start, sorted(name for name in names if name[0] != '.')


def _leads_up(parent: str, name: str) -> bool:
    """Return whether a folder is a link to one that it lies in, so that there is no end of it."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    return Path(os.path.realpath(parent)).is_relative_to(os.path.realpath(path))


def stem(name: str) -> str:
    """Return a name without the suffix of an image or annotation file, whose dots may be many."""
    start, suffix = os.path.splitext(name)
    return start if suffix.lower() in {*IMAGE_SUFFIXES, *UNREAD_SUFFIXES, '.xml'} else name


def plain_name(name: str) -> str:
    """Return the name of a class without what names of one class may differ in: case and blanks."""
    return re.sub(r'[\s_-]+', ' ', name).strip().casefold()
