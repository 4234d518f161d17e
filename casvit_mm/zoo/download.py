"""Published files of weights, fetched whole or not at all, and checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.table import Table

from casvit_mm.errors import InputError
from casvit_mm.io import replacing, sha256_of
from casvit_mm.plotting.tables import LiteralConsole
from casvit_mm.weights.published import (
    EARLIER_FILES,
    EARLIER_NOTE,
    FILES,
    MODEL_ZOO,
    WeightFile,
    in_words,
)

__all__ = ['Downloaded', 'download', 'print_files']

_TIMEOUT = 60  # seconds without a byte
_RETRIES = 3


@dataclass(frozen=True)
class Downloaded:
    """What :func:`download` left.

    Attributes:
        path: The file.
        sha256: Of its content, 64 hexadecimal digits.
        new: Whether it was not there before.
        known: Whether the digest agrees with one known before; else it was recorded now.
    """

    path: Path
    sha256: str
    new: bool
    known: bool

    def __str__(self) -> str:
        return (
            f'{self.path}: {self.path.stat().st_size / 1e6:.1f} MB, '
            f'{"downloaded" if self.new else "was there already"}\n'
            f'  sha256 {self.sha256}\n'
            + (
                '  as it should be'
                if self.known
                else '  its authors name none: recorded beside the file, to be compared from now on'
            )
        )


def download(file: WeightFile, folder: str | Path = 'checkpoints') -> Downloaded:
    """Fetch a published file, unless it is there, and check it.

    It bears its name only once it is whole and can be read. What an interrupted download brought
    stays beside it, and the next call goes on from there. Its SHA-256 is compared with the one
    known; where none is, the first call records it in ``<file>.sha256`` (``sha256sum -c`` reads
    that) and later calls compare.

    Args:
        file: What :func:`casvit_mm.weights.published.find_file` returned.
        folder: Where it belongs.

    Raises:
        InputError: If it cannot be fetched, with the link and the place for doing it by hand; if
            what came or what was there is no checkpoint, or has another SHA-256.
    """
    from casvit_mm.weights.reading import load_file

    path = Path(folder) / file.filename
    new = not path.exists()
    if new:
        _place(file, path)
    else:
        load_file(path)
    digest, known = _compare(file, path)
    return Downloaded(path, digest, new, known)


def _place(file: WeightFile, path: Path) -> None:
    """Fetch a file to where it belongs."""
    arrived = path.with_name(f'{path.name}.download')
    _fetch(file, path, arrived)
    try:
        _check_content(file, path, arrived)
    except InputError:
        arrived.unlink()
        raise
    os.replace(arrived, path)


def _fetch(file: WeightFile, path: Path, arrived: Path) -> None:
    """Let gdown bring a file, or the rest of it."""
    try:
        import gdown
        from gdown.exceptions import DownloadError
        from requests import ConnectionError as NoConnection
        from requests import RequestException
    except ImportError as error:
        raise InputError(
            f"{file.filename} was not downloaded: that needs gdown, pip install 'gdown>=6.5'\n"
            f'{_by_hand(file, path)}'
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        gdown.download(
            file.link,
            str(arrived),
            quiet=not sys.stderr.isatty(),
            use_cookies=False,  # those of a browser are no business of ours
            resume=True,
            timeout=_TIMEOUT,
            retries=_RETRIES,
        )
    except (DownloadError, RequestException) as error:
        if isinstance(error.__cause__ or error, NoConnection):
            reason = f'{urlsplit(file.link).hostname} cannot be reached'
        else:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f'{file.filename} was not downloaded: {reason}\n{_by_hand(file, path)}'
        ) from error
    except OSError as error:
        raise InputError(
            f'cannot write {path}: {error.strerror}. What came is kept: once that is fixed, the '
            'same command goes on from there. Another folder: --dir'
        ) from error


def _check_content(file: WeightFile, path: Path, arrived: Path) -> None:
    """Refuse what is no checkpoint or not the one asked for."""
    from casvit_mm.weights.reading import load_file

    with arrived.open('rb') as opened:
        start = opened.read(64).lstrip()
    if start.startswith(b'<'):
        raise InputError(
            f'{file.filename} was not downloaded: a web page came in its place. Google Drive sends '
            'one when a file was fetched too often that day; try again tomorrow.\n'
            f'{_by_hand(file, path)}'
        )
    try:
        load_file(arrived)
    except InputError as error:
        raise InputError(
            f'{file.filename} was downloaded and cannot be used, so it was not kept:\n{error}\n'
            f'{_by_hand(file, path)}'
        ) from error
    digest = sha256_of(arrived)
    if not digest.startswith(file.sha256):
        raise InputError(
            f'{file.filename} was downloaded and is not the published file, so it was not kept: '
            f'its SHA-256 is {digest}, and should begin with {file.sha256}'
        )


def _compare(file: WeightFile, path: Path) -> tuple[str, bool]:
    """Return a file's SHA-256 and whether it is the known one; record it where none is known.

    Raises:
        InputError: If it is another one.
    """
    digest = sha256_of(path)
    record = path.with_name(f'{path.name}.sha256')
    known = record.read_text().partition(' ')[0] if record.is_file() else file.sha256
    if not digest.startswith(known):
        raise InputError(
            f'{path} has the SHA-256 {digest}, which should be {known} '
            f'({f"recorded in {record}" if record.is_file() else "as its authors say"}): it was '
            'changed, or is another file. Remove both, and the same command fetches it anew.'
        )
    if not record.is_file():
        with replacing(record) as opened:
            opened.write(f'{digest}  {path.name}\n')
    return digest, bool(known)


def _by_hand(file: WeightFile, path: Path) -> str:
    return (
        f'By hand: open {file.link}\n'
        f'and save the file as {path.absolute()}\n'
        f'The same command checks it then. All links of the authors: {MODEL_ZOO}'
    )


def print_files(folder: str | Path = 'checkpoints') -> None:
    """Print the published files, their metrics, and which are in ``folder``; the earlier apart."""
    console = LiteralConsole()
    console.print(_table(FILES, folder))
    console.print(
        f'\n"there": in {folder}. A name that begins with cas-vit is a classifier, whose backbone '
        'other configs start from; else it is the name of the config of the whole model.\n\n'
        f'Earlier files. {EARLIER_NOTE}\n',
    )
    console.print(_table(EARLIER_FILES, folder))


def _table(files: Mapping[str, WeightFile], folder: str | Path) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ('NAME', 'data', 'published', 'there'):
        table.add_column(column, no_wrap=True)
    for file in files.values():
        there = (Path(folder) / file.filename).exists()
        table.add_row(file.name, file.data, in_words(file.metrics), 'yes' if there else '')
    return table
