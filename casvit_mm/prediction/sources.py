"""What to predict on: images, folders, patterns, lists, videos, addresses and webcams."""

from __future__ import annotations

import glob
import http.client
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np

from casvit_mm.datasets.files import IMAGE_SUFFIXES, read_text
from casvit_mm.datasets.images import list_media
from casvit_mm.deploy.images import decode_image
from casvit_mm.errors import InputError

__all__ = ['Source', 'find_sources']

_SCHEMES = ('http', 'https', 'rtsp', 'rtsps', 'rtmp', 'udp', 'tcp')
_TIMEOUT = 30  # seconds without an answer
_MOST_BYTES = 2**28  # of an image behind an address


@dataclass(frozen=True)
class Source:
    """An image, video or stream to predict on.

    Attributes:
        origin: File; address; or number of a webcam.
        name: Of its results: a path from the nearest folder that holds all files, or an address as
            a file may be called. No two sources share one.
        kind: ``'image'``, ``'video'`` or ``'stream'``, which may have no end.
        drawn: Path of what is drawn of it in the folder of pictures or videos, which no other
            source has; empty until that is settled.
    """

    origin: Path | str | int
    name: str
    kind: str
    drawn: str = ''

    def __str__(self) -> str:
        """Return how messages and results call it; a password in an address is left out."""
        if isinstance(self.origin, int):
            return f'webcam {self.origin}'
        if isinstance(self.origin, Path):
            return str(self.origin)
        return re.sub(r'//[^/@]*@', '//', self.origin)

    def read(self) -> np.ndarray | Path:
        """Return an image as a model takes it: its file, or pixels as of ``read_image``.

        Raises:
            InputError: If it cannot be fetched.
        """
        if not isinstance(self.origin, str):
            return self.origin  # type: ignore[return-value]
        try:
            with urlopen(self.origin, timeout=_TIMEOUT) as answer:
                content = answer.read(_MOST_BYTES + 1)
        except (URLError, OSError, ValueError, http.client.HTTPException) as error:
            raise InputError(f'{self} cannot be fetched: {error}') from error
        if len(content) > _MOST_BYTES:
            raise InputError(f'{self} has more than {_MOST_BYTES:,} bytes')
        return decode_image(content, str(self))


def find_sources(given: Sequence[str], outputs: Sequence[Path]) -> tuple[Iterator[Source], int]:
    """Find the images, videos and streams that arguments stand for.

    Args:
        given: Files; folders, with all images below them; patterns such as ``photos/*.jpg`` and
            ``photos/**/*.jpg``; ``.txt`` files with one of these per line, from the folder of the
            list; addresses; numbers of webcams.
        outputs: Folders of results, left out where they lie inside a folder that is given.

    Returns:
        The sources in their order, each once, which are made one after the other; and the number
        of files in folders that are no images or lie in ``outputs``.

    Raises:
        InputError: If something is missing, a folder, pattern or list holds nothing, or a file lies
            in one of ``outputs``.
    """
    files: list[str] = []
    remote: dict[str, Source] = {}
    for one in _expanded(given, Path()):
        if one.isdecimal() and not Path(one).exists():
            remote.setdefault(one, Source(int(one), f'webcam_{one}', 'stream'))
        elif '://' in one:
            remote.setdefault(one, _behind_address(one))
        else:
            files.append(one)
    media, skipped = list_media(files, outputs) if files else (iter(()), 0)
    local = (Source(m.path, m.name, 'video' if m.is_video else 'image') for m in media)
    return itertools.chain(local, remote.values()), skipped


def _expanded(given: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield arguments with patterns and lists replaced by what they stand for.

    Args:
        given: The arguments, or lines of a list.
        folder: What relative paths begin at.
    """
    for one in given:
        path = folder / one
        if '://' in one or (one.isdecimal() and not path.exists()):
            yield one
        elif path.suffix.lower() == '.txt' and path.is_file():
            yield from _expanded(_lines(path), path.parent)
        elif not path.exists() and glob.has_magic(one):
            found = sorted(glob.glob(str(path), recursive=True))
            if not found:
                raise InputError(f'no file is called {one}')
            yield from found
        else:
            yield str(path)


def _lines(path: Path) -> list[str]:
    """Return the lines of a list that are neither empty nor a comment."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except UnicodeError as error:
        raise InputError(f'list {path} is no text in UTF-8: {error}') from error
    except OSError as error:
        raise InputError(f'list {path} cannot be read: {error.strerror}') from error
    lines = [line for line in lines if line and not line.startswith('#')]
    nested = [line for line in lines if line.lower().endswith('.txt')]
    if not lines or nested:
        reason = f'names another list, {nested[0]}' if nested else 'is empty'
        raise InputError(f'list {path} {reason}; it needs one image, folder or video per line')
    return lines


def _behind_address(address: str) -> Source:
    """Return the image or stream behind an address, by the suffix of its path."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InputError(f'{address} is no address: {error}') from error
    if parts.scheme not in _SCHEMES:
        raise InputError(f'{address}: known are {", ".join(f"{s}://" for s in _SCHEMES)}')
    is_image = parts.scheme in ('http', 'https') and Path(parts.path).suffix.lower() in (
        IMAGE_SUFFIXES
    )
    host = parts.netloc.rpartition('@')[2]
    text = '_'.join(filter(None, (host, parts.path.strip('/'), parts.query)))
    name = re.sub(r'[^\w.-]+', '_', text)[-120:].lstrip('.')
    return Source(address, name or 'stream', 'image' if is_image else 'stream')
