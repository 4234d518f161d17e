"""Files that are never half written, and files that ask for too much."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from casvit_mm.errors import InputError

__all__ = [
    'PIXEL_LIMIT',
    'check_writable',
    'json_text',
    'limit_pixels',
    'limited_memory',
    'pixel_limit',
    'replacing',
    'run_all',
    'sha256_of',
    'write_json',
]

# The environment variable of OpenCV for the pixels of an image; it is read once, by its import.
PIXEL_LIMIT = 'OPENCV_IO_MAX_IMAGE_PIXELS'
# 0.8 GB once it is decoded; a training decodes several at a time. OpenCV alone allows four times as
# many, Pillow two thirds.
_MAX_PIXELS = 2**28
_SLACK = 2**32  # bytes that reading a file of weights may take beside what the file holds


def limit_pixels() -> None:
    """Let OpenCV and Pillow refuse an image by its header, if it has more pixels than we read.

    A limit that the user has set is kept. Processes that are started later have the same one.
    Where OpenCV is imported already, its own limit holds.

    Raises:
        InputError: As :func:`pixel_limit`.
    """
    os.environ.setdefault(PIXEL_LIMIT, str(_MAX_PIXELS))
    limit = pixel_limit()
    if find_spec('PIL') is not None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = limit // 2  # from which it warns; it refuses from twice as many
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)


def pixel_limit() -> int:
    """Return how many pixels an image may have.

    Raises:
        InputError: If the user has set a limit that is no whole number.
    """
    text = os.environ.get(PIXEL_LIMIT, str(_MAX_PIXELS))
    if not text.isdecimal() or not text.isascii():
        raise InputError(f'{PIXEL_LIMIT}={text} is no number of pixels')
    return int(text)


@contextmanager
def limited_memory(path: Path) -> Iterator[None]:
    """Let the process take no more memory inside the block than reading this file should need.

    What asks for more raises MemoryError there, before another process is ended for it. Where the
    system knows no such limit nothing happens.
    """
    status = Path('/proc/self/status')
    if not status.exists():
        yield
        return
    import resource

    taken = next(line for line in status.read_text().splitlines() if line.startswith('VmData'))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(taken.split()[1]) * 1024 + 4 * path.stat().st_size + _SLACK
    ceilings = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *ceilings]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def check_writable(files: dict[str, str | None], folders: dict[str, str | None]) -> None:
    """Refuse places where results cannot be written, before the results are computed.

    Args:
        files: File to write by option name; its folder is made.
        folders: Folder to fill by option name; made.

    Raises:
        InputError: Naming the option, the place and the reason.
    """
    places = {option: (Path(path).parent, path) for option, path in files.items() if path}
    places |= {option: (Path(path), path) for option, path in folders.items() if path}
    for option, (folder, path) in places.items():
        if option in files and Path(path).is_dir():
            raise InputError(f'{option} {path} is a folder; name a file in it')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise InputError(
                f'{option} {path} cannot be written: {folder}: {error.strerror}. Name another place'
            ) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of what a file holds, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(
    path: str | Path,
    mode: str = 'w',
    fix: str = 'Make room or name another place.',
    part: str = '.part',
) -> Iterator[IO]:
    """Open a file that takes the place of ``path`` once it is whole, and not before.

    A reader sees the old file or the new one, never half of it; if writing fails, the old one
    stays as it was. The folder is made.

    Args:
        path: The file to write.
        mode: ``'w'`` or ``'wb'``.
        fix: What to do where it cannot be written.
        part: Ending of its name until it is whole. Processes that may write the same file at the
            same time need different ones.

    Raises:
        InputError: If the file cannot be written, e.g. because the disk is full.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open(mode) as file:
                yield file
                # Network file systems report a full disk only here.
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        kept = 'The file of that name is as it was before. ' if path.exists() else ''
        raise InputError(f'cannot write {path}: {error.strerror}. {kept}{fix}') from error


def run_all(jobs: Sequence[Callable[[], object]]) -> None:
    """Run every job, also after one has failed, so that one full disk does not cost the rest.

    Raises:
        InputError: The messages of all that failed, after the last job.
        Exception: Any other that a job has raised, likewise; the first of them.
    """
    messages, faults = [], []
    for job in jobs:
        try:
            job()
        except InputError as error:
            messages.append(str(error))
        except Exception as fault:  # the results of the others must not be lost by it
            faults.append(fault)
    if faults:
        raise faults[0]
    if messages:
        raise InputError('\n'.join(messages))


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` in one step, as :func:`replacing` does.

    NaN, which JSON lacks, becomes null.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path) as file:
        file.write(json_text(content) + '\n')


def json_text(value: Any, depth: int = 0) -> str:
    """Return JSON as :func:`write_json` writes it, for a place ``depth`` levels below the top."""
    text = json.dumps(_without_nan(value), indent=2)
    return text.replace('\n', '\n' + '  ' * depth)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
