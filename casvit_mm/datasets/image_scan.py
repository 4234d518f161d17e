"""Looks at every image file: whether it is whole, its size, and what it shows in short.

Before training :func:`scan_headers` reads beginnings and ends, and remembers what it found;
``casvit-mm check-data`` and the drawing of a split decode all by :func:`scan_images`.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from casvit_mm.console import counted
from casvit_mm.datasets.files import UNREAD_SUFFIXES
from casvit_mm.datasets.scan_memory import ScanMemory
from casvit_mm.deploy.images import MAX_SIDE, decode_image, quiet_opencv, too_large
from casvit_mm.errors import InputError

__all__ = ['ImageScan', 'ScanImages', 'read_in_threads', 'scan_headers', 'scan_images']

T = TypeVar('T')
R = TypeVar('R')

_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 exchange width and height
_DECODED_BY_PILLOW = (b'\xff\xd8', b'\x89PNG')  # for sure, if whole
_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
_END_BYTES = 64
_MAX_RATIO = 1000  # of the sides
_CUT = re.compile('truncated|broken|unrecognized data', re.IGNORECASE)  # in Pillow's messages
_UNREAD = 'a format that training does not read: convert it to PNG or JPEG'
_HEIC = re.compile(rb'....ftyp(hei[cxms]|hev[cx]|mif1|msf1)', re.DOTALL)
_THUMBNAIL = (17, 16)  # width and height: 256 differences of neighbours


@dataclass(frozen=True, slots=True)
class ImageScan:
    """What one image file holds.

    Attributes:
        error: Why it cannot be read; None if it can.
        stored: Width and height in the file.
        upright: Width and height after EXIF orientation, which is what training sees.
        digest: SHA-256 of the file.
        thumbnail: Grey values in standard deviations from their mean, ``(16, 17)``; None where the
            image is uniform or cannot be read.
        damage: What is wrong with a JPEG or PNG file that training would read all the same, with
            grey in place of what is lost; None if nothing is.
    """

    error: str | None = None
    stored: tuple[int, int] = (0, 0)
    upright: tuple[int, int] = (0, 0)
    digest: bytes = b''
    thumbnail: np.ndarray | None = None
    damage: str | None = None

    @property
    def fault(self) -> str | None:
        """Why it must not be trained on or scored; None if it may."""
        return self.error or self.damage

    @property
    def is_turned(self) -> bool:
        """Whether EXIF exchanges width and height."""
        return self.stored != self.upright


ScanImages = Callable[[Sequence[str | Path], str], list[ImageScan]]


def scan_images(paths: Sequence[str | Path], name: str) -> list[ImageScan]:
    """Decode image files; ``name`` is what the progress bar calls them."""
    return read_in_threads(_scan, paths, f'reading images of {name}')


def scan_headers(paths: Sequence[str | Path], name: str) -> list[ImageScan]:
    """Read beginning and end of image files, and decode those that look unsound by these.

    JPEG and PNG files have a known end; all others are decoded. What was sound is remembered, see
    :mod:`casvit_mm.datasets.scan_memory`. Nothing has a digest or a thumbnail.
    """
    memory = ScanMemory('image headers', _scan_header, _pack, _unpack)
    title = f'reading image headers of {name}'
    return memory.recall(paths, lambda look, found: read_in_threads(look, found, title))


def read_in_threads(read: Callable[[T], R], items: Sequence[T], title: str) -> list[R]:
    """Apply ``read`` in as many threads as there are cores, with a progress bar on a terminal.

    OpenCV is silent meanwhile.

    Args:
        read: Reads one item; reports what is wrong in what it returns.
        items: What to read.
        title: Beside the progress bar.

    Returns:
        The results in the order of ``items``.
    """
    # What is wrong with a file is in its scan.
    with quiet_opencv(), ThreadPool(os.cpu_count()) as pool:
        return list(counted(pool.imap(read, items, chunksize=8), title, len(items)))


def _scan(file: str | Path) -> ImageScan:
    path = Path(file)
    try:
        data = path.read_bytes()
    except OSError as error:
        return ImageScan(error=error.strerror or str(error))
    digest = hashlib.sha256(data).digest()
    if path.suffix.lower() in UNREAD_SUFFIXES and not data.startswith(_DECODED_BY_PILLOW):
        return ImageScan(error=f'{path.suffix} is {_UNREAD}', digest=digest)
    try:
        image = Image.open(io.BytesIO(data))
        stored = image.size
        thumbnail = _thumbnail(image)
        turned = _is_turned(image)
    except Image.DecompressionBombError:
        return ImageScan(error=too_large(), digest=digest)
    except Image.UnidentifiedImageError:
        reason = 'it is no image' if data else 'it is empty (0 bytes)'
        if _HEIC.match(data):
            reason = f'it is HEIC, whatever its name says, {_UNREAD}'
        return _scan_as_training(data, reason, digest)
    except Exception as error:  # decoders raise whatever the damage leads them to
        return _scan_as_training(data, f'it is damaged or cut short ({error})', digest)
    if (unfit := _unfit_size(stored)) is not None:
        return ImageScan(error=unfit, digest=digest)
    doubt = None
    if _lacks_end(data[-_END_BYTES:], image.format):
        doubt = 'its end is missing'
    elif image.format not in _ENDS:
        doubt = (
            f'OpenCV, with which training reads, cannot decode {image.format} of this kind, such '
            'as 32 bits per channel. Save it with 8 or 16'
        )
    if doubt:
        found = _scan_as_training(data, doubt, digest)
        if found.error:
            return found
    upright = stored[::-1] if turned else stored
    return ImageScan(None, stored, upright, digest, thumbnail)


def _pack(scan: ImageScan) -> list[int] | None:
    return None if scan.fault else [*scan.stored, *scan.upright]


def _unpack(sizes: list[int]) -> ImageScan:
    return _sound(*sizes)


@lru_cache(maxsize=4096)  # a million images of few sizes share few objects
def _sound(width: int, height: int, upright_width: int, upright_height: int) -> ImageScan:
    return ImageScan(None, (width, height), (upright_width, upright_height))


def _scan_header(path: Path) -> ImageScan:
    try:
        with path.open('rb') as file, Image.open(file) as image:
            stored, kind = image.size, image.format
            upright = stored[::-1] if _is_turned(image) else stored
            file.seek(max(0, os.path.getsize(path) - _END_BYTES))
            sound = kind in _ENDS and not _lacks_end(file.read(), kind)
            if sound and _unfit_size(stored) is None:
                return _sound(*stored, *upright)
    except Exception:  # decoders raise whatever the damage leads them to; the scan says what it is
        pass
    return replace(_scan(path), digest=b'', thumbnail=None)


def _unfit_size(size: tuple[int, int]) -> str | None:
    """Say why no training can work on an image of this width and height; None if one can.

    A side that is much shorter than the other becomes 0 pixels where the long one is scaled down,
    and makes the long one huge where it is scaled up.
    """
    if max(size) > MAX_SIDE:
        return too_large()
    if max(size) > _MAX_RATIO * min(size):
        return f'with {size[0]} x {size[1]} pixels it is too thin to be resized'
    return None


def _lacks_end(tail: bytes, kind: str | None) -> bool:
    """Return whether a file does not end as its format does.

    Args:
        tail: Its last bytes; some cameras and programs write more behind the end.
        kind: Its format, as Pillow names it; only of JPEG and PNG the end is known.
    """
    end = _ENDS.get(str(kind))
    return end is not None and end not in tail


def _is_turned(image: Image.Image) -> bool:
    """Return whether EXIF exchanges width and height, as OpenCV does when training reads."""
    if image.format == 'PNG' and 'exif' not in image.info:
        return False  # asking on would decode the whole file
    return image.getexif().get(_ORIENTATION, 1) >= 5


def _scan_as_training(data: bytes, reason: str, digest: bytes) -> ImageScan:
    """Ask OpenCV, with which training reads, about a file that looks damaged."""
    try:
        height, width = decode_image(data, '').shape[:2]
    except InputError:
        return ImageScan(reason, digest=digest)
    damage = reason if data.startswith(_DECODED_BY_PILLOW) and _CUT.search(reason) else None
    return ImageScan(None, (width, height), (width, height), digest, damage=damage)


def _thumbnail(image: Image.Image) -> np.ndarray | None:
    image.draft('L', (64, 64))  # lets JPEG decode at an eighth of the size
    grey = image.convert('F' if image.mode[0] in 'IF' else 'L')
    small = grey.resize(_THUMBNAIL, Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32)
    spread = values.std()
    return ((values - values.mean()) / spread).astype(np.float16) if spread > 0 else None
