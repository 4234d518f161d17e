"""Reads every image once: what cannot be read, is of another size, or occurs twice."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from casvit_mm.datasets.formats.coco import is_id, is_size
from casvit_mm.datasets.issues import Issue

__all__ = [
    'END_BYTES',
    'ImageScan',
    'duplicate_issues',
    'file_issues',
    'is_turned',
    'lacks_end',
    'read_in_threads',
    'scan_images',
    'scan_split',
]

T = TypeVar('T')
R = TypeVar('R')

_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 exchange width and height
_HASH_SIDE = 16  # 256 bits: 64 confuse images that have much empty ground
_HASH_DISTANCE = 16  # bits of 256
_CORRELATION = 0.98
_DECODED_BY_PILLOW = (b'\xff\xd8', b'\x89PNG')  # for sure, if whole
_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
END_BYTES = 64
_CUT = re.compile('truncated|broken|unrecognized data', re.IGNORECASE)  # words of its faults


@dataclass(frozen=True)
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


def scan_split(content: dict[str, Any], folder: Path, name: str) -> dict[int, ImageScan]:
    """Read the images of a split that exist, each id once, by position in the list of images."""
    entries = content.get('images')
    found = {}
    ids = set()
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not is_id(entry.get('id')) or entry['id'] in ids:
            continue
        ids.add(entry['id'])
        file_name = entry.get('file_name')
        if isinstance(file_name, str) and os.path.exists(folder / file_name):
            found[i] = folder / file_name
    return dict(zip(found, scan_images(list(found.values()), name), strict=True))


def scan_images(paths: Sequence[Path], name: str) -> list[ImageScan]:
    """Read image files; ``name`` is what the progress bar calls them."""
    return read_in_threads(_scan, paths, f'reading images of {name}')


def read_in_threads(read: Callable[[T], R], items: Sequence[T], title: str) -> list[R]:
    """Apply ``read`` in as many threads as there are cores, with a progress bar on a terminal.

    Images may be as large as training takes them, and OpenCV is silent meanwhile.

    Args:
        read: Reads one item; reports its faults in what it returns.
        items: What to read.
        title: Beside the progress bar.

    Returns:
        The results in the order of ``items``.
    """
    limit, level = Image.MAX_IMAGE_PIXELS, cv2.getLogLevel()
    Image.MAX_IMAGE_PIXELS = 1 << 30  # OpenCV's, with which training reads
    cv2.setLogLevel(0)  # faults are reported below
    try:
        with ThreadPool(os.cpu_count()) as pool:
            screen = Console(stderr=True)
            shown = track(
                pool.imap(read, items, chunksize=8),
                title,
                total=len(items),
                console=screen,
                transient=True,
                disable=not screen.is_terminal,
            )
            return list(shown)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
        cv2.setLogLevel(level)


def _scan(path: Path) -> ImageScan:
    try:
        data = path.read_bytes()
    except OSError as error:
        return ImageScan(error=str(error))
    digest = hashlib.sha256(data).digest()
    try:
        image = Image.open(io.BytesIO(data))
        stored = image.size
        thumbnail = _thumbnail(image)
        turned = is_turned(image)
    except Exception as error:  # decoders raise whatever the damage leads them to
        return _scan_as_training(data, f'{type(error).__name__}: {error}', digest)
    if not cv2.haveImageReader(str(path)):
        return _scan_as_training(data, f'OpenCV cannot read {image.format}', digest)
    if lacks_end(data[-END_BYTES:], image.format):
        found = _scan_as_training(data, 'its end is missing', digest)
        if found.error:
            return found
    upright = stored[::-1] if turned else stored
    return ImageScan(None, stored, upright, digest, thumbnail)


def lacks_end(tail: bytes, kind: str | None) -> bool:
    """Return whether a file does not end as its format does.

    Args:
        tail: Its last :data:`END_BYTES` bytes; some cameras and programs write more behind the end.
        kind: Its format, as Pillow names it; only of JPEG and PNG the end is known.
    """
    end = _ENDS.get(str(kind))
    return end is not None and end not in tail


def is_turned(image: Image.Image) -> bool:
    """Return whether EXIF exchanges width and height, as OpenCV does when training reads."""
    if image.format == 'PNG' and 'exif' not in image.info:
        return False  # asking on would decode the whole file
    return image.getexif().get(_ORIENTATION, 1) >= 5


def _scan_as_training(data: bytes, fault: str, digest: bytes) -> ImageScan:
    """Ask OpenCV, with which training reads, about a file that looks faulty."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        return ImageScan(fault, digest=digest)
    height, width = pixels.shape[:2]
    damage = fault if data.startswith(_DECODED_BY_PILLOW) and _CUT.search(fault) else None
    return ImageScan(None, (width, height), (width, height), digest, damage=damage)


def _thumbnail(image: Image.Image) -> np.ndarray | None:
    image.draft('L', (64, 64))  # lets JPEG decode at an eighth of the size
    grey = image.convert('F' if image.mode[0] in 'IF' else 'L')
    small = grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32)
    spread = values.std()
    return ((values - values.mean()) / spread).astype(np.float16) if spread > 0 else None


def file_issues(
    content: dict[str, Any], scans: dict[int, ImageScan], masks_fatal: bool
) -> Iterator[Issue]:
    """Find files that cannot be read, or whose size is not the annotated one.

    Args:
        content: Lists of images, annotations and categories.
        scans: What the files hold, by position in the list of images.
        masks_fatal: Whether masks are trained on, where an RLE must have the image's size.
    """
    with_rle = {
        a['image_id']
        for a in content['annotations']
        if masks_fatal
        and isinstance(a, dict)
        and isinstance(a.get('segmentation'), dict)
        and is_id(a.get('image_id'))
    }
    for i, scan in scans.items():
        entry = content['images'][i]
        name, at = entry['file_name'], ('images', i)
        declared = (entry.get('width'), entry.get('height'))
        if scan.error:
            message = f'{name} cannot be read: {scan.error}'
            yield Issue('unreadable image', name, message, True, at)
            continue
        if declared == scan.upright or not is_size(*declared):
            continue
        sizes = f'{declared[0]} x {declared[1]} in the annotations'
        seen = f'{scan.upright[0]} x {scan.upright[1]}'
        kind = 'image of another size'
        message = f'{name} is {sizes}, but {seen} in the file'
        if declared == scan.stored:
            kind = 'image turned by EXIF'
            message = (
                f'{name} is {sizes}, but its EXIF orientation turns it to {seen}, as training sees '
                'it. Look whether the boxes sit right; save the image upright.'
            )
        yield Issue(kind, name, message, entry.get('id') in with_rle, at)


def duplicate_issues(
    contents: dict[str, dict[str, Any]], scans: dict[str, dict[int, ImageScan]]
) -> dict[str, list[Issue]]:
    """Find images that occur twice, byte by byte, and across splits also those that look alike.

    Two images look alike if their 256-bit difference hashes differ in at most 16 bits and their
    16 x 17 thumbnails correlate by 0.98 or more.

    Args:
        contents: Annotations by split.
        scans: What the files hold, by split and position in the list of images.

    Returns:
        Defects by split; a pair across splits stands under the one that ``--fix`` takes it from,
        which is train where train is concerned.
    """
    issues: dict[str, list[Issue]] = {name: [] for name in contents}
    owners: dict[bytes, list[tuple[str, int]]] = {}
    for split, found in scans.items():
        for i, scan in found.items():
            if scan.digest:
                owners.setdefault(scan.digest, []).append((split, i))

    def name(split: str, i: int) -> str:
        return contents[split]['images'][i]['file_name']

    for places in owners.values():
        firsts: dict[str, int] = {}
        for split, i in places:
            if split in firsts:
                message = f'{name(split, i)} is the same file as {name(split, firsts[split])}'
                where, at = name(split, i), ('images', i)
                found_twice = Issue('image twice in a split', where, message, False, at)
                issues[split].append(found_twice)
            firsts.setdefault(split, i)
        if len(firsts) < 2:
            continue
        kept = list(firsts)[-1]
        for split, i in places:
            if split != kept:
                message = (
                    f'{name(split, i)} of {split} is the same file as '
                    f'{name(kept, firsts[kept])} of {kept}'
                )
                where, at = name(split, i), ('images', i)
                in_two = Issue('image in two splits', where, message, False, at)
                issues[split].append(in_two)
    names = list(scans)
    for at_split, split in enumerate(names):
        for other in names[at_split + 1 :]:
            for i, j in _alike(scans[split], scans[other]):
                message = (
                    f'{name(split, i)} of {split} looks like {name(other, j)} of {other}; '
                    'keep frames of one scene in one split'
                )
                where, at = f'{name(split, i)} ~ {name(other, j)}', ('images', i)
                alike = Issue('near-duplicate across splits', where, message, False, at)
                issues[split].append(alike)
    return issues


def _alike(first: dict[int, ImageScan], second: dict[int, ImageScan]) -> Iterator[tuple[int, int]]:
    """Yield pairs that look alike but are different files."""
    rows = [(i, s) for i, s in first.items() if s.thumbnail is not None]
    columns = [(i, s) for i, s in second.items() if s.thumbnail is not None]
    if not rows or not columns:
        return
    left, right = (
        np.stack([s.thumbnail for _, s in part if s.thumbnail is not None]).astype(np.float32)
        for part in (rows, columns)
    )
    bits_right, flat_right = _signs(right), right.reshape(len(right), -1)
    area = flat_right.shape[1]
    for start in range(0, len(left), 1024):
        block = left[start : start + 1024]
        # The product of +1/-1 vectors counts agreeing minus differing bits.
        agree = _signs(block) @ bits_right.T
        close = agree >= bits_right.shape[1] - 2 * _HASH_DISTANCE
        for i, j in np.argwhere(close):
            alike = block[i].ravel() @ flat_right[j] / area >= _CORRELATION
            if alike and rows[start + i][1].digest != columns[j][1].digest:
                yield rows[start + i][0], columns[j][0]


def _signs(thumbnails: np.ndarray) -> np.ndarray:
    """Return difference hashes as +1 and -1, ``(N, 256)``."""
    rising = np.diff(thumbnails, axis=2) > 0
    return np.where(rising, 1, -1).reshape(len(thumbnails), -1).astype(np.float32)
