"""Reads masks and looks at their images: what training would trip over, and the values."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casvit_mm.datasets.image_scan import ImageScan, ScanImages, read_in_threads, scan_headers
from casvit_mm.datasets.issues import Issue, unreadable_image
from casvit_mm.datasets.scan_memory import ScanMemory
from casvit_mm.deploy.images import too_large
from casvit_mm.segmentation.data.description import IGNORED
from casvit_mm.segmentation.data.recoding import Recoding
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['PairScan', 'label_values', 'scan_labels', 'scan_pairs']

_PNG = b'\x89PNG\r\n\x1a\n'


@dataclass(frozen=True)
class PairScan:
    """What an image and its segmentation mask hold.

    Attributes:
        issue: Why they cannot be trained on; None if they can.
        size: Width and height of the mask in pixels; zeros if unknown.
        counts: Pixels per value of the mask as training reads it, int64 ``(256,)``; None if it has
            no values that training could read.
        recoded: Whether training reads a copy in which ``classes`` is applied.
        foreign: Of such a mask, pixels by value or colour that is no class and not ignored.
        image: What the image holds.
    """

    issue: Issue | None
    size: tuple[int, int] = (0, 0)
    counts: np.ndarray | None = None
    recoded: bool = False
    foreign: dict[str, int] = field(default_factory=dict)
    image: ImageScan = field(default_factory=ImageScan)


class _Unusable(Exception):
    """Why a file cannot be used: kind of issue, and message."""


def scan_pairs(
    pairs: Sequence[ImagePair], recoding: Recoding, name: str, scan: ScanImages = scan_headers
) -> list[PairScan]:
    """Read the masks of pairs, and the size of the images as training sees them.

    Args:
        pairs: Images and masks.
        recoding: How masks become what training reads.
        name: What the progress bar calls them.
        scan: Looks at the images.
    """
    images = scan([Path(pair.image) for pair in pairs], name)
    labels = scan_labels(pairs, recoding, name)
    return list(map(_compare, pairs, labels, images))


def scan_labels(pairs: Sequence[ImagePair], recoding: Recoding, name: str) -> list[PairScan]:
    """Read the masks of pairs, and nothing of the images.

    Masks are read as by mmseg's ``LoadAnnotations``: by Pillow, unchanged, so a palette gives
    its indices and one bit gives 0 and 1. Where classes have values or colours, these are applied.
    What was sound is remembered, see :mod:`casvit_mm.datasets.scan_memory`.
    """
    read = partial(_scan_label, recoding)
    memory = ScanMemory(f'masks {recoding.name}', read, _pack, _unpack)
    title = f'reading labels of {name}'
    paths = [Path(pair.label) for pair in pairs]
    return memory.recall(paths, lambda look, found: read_in_threads(look, found, title))


def _compare(pair: ImagePair, label: PairScan, image: ImageScan) -> PairScan:
    """Join what mask and image hold, with the first issue of the two."""
    found = replace(label, image=image)
    if label.issue is not None:
        return found
    if image.fault:
        name = Path(pair.image).name
        return replace(found, issue=unreadable_image(name, pair.image, image.fault))
    if image.upright == label.size:
        return found
    (width, height), seen = label.size, image.upright
    exif = ' once its EXIF orientation is applied, as training does' if image.is_turned else ''
    message = (
        f'label {pair.label} is {width} x {height} pixels, but its image {pair.image} is '
        f'{seen[0]} x {seen[1]}{exif}. Export the mask from this image, or resize it without '
        'interpolation.'
    )
    kind = 'label of another size'
    return replace(found, issue=Issue(kind, Path(pair.label).name, message, True))


def _pack(scan: PairScan) -> list[Any] | None:
    if scan.issue is not None or scan.counts is None:
        return None
    values = np.flatnonzero(scan.counts).tolist()
    counts = scan.counts[values].tolist()
    return [*scan.size, values, counts, scan.recoded, scan.foreign]


def _unpack(packed: list[Any]) -> PairScan:
    width, height, values, found, recoded, foreign = packed
    counts = np.zeros(256, dtype=np.int64)
    counts[values] = found
    return PairScan(None, (width, height), counts, recoded, foreign)


def _scan_label(recoding: Recoding, path: Path) -> PairScan:
    try:
        return _read_label(str(path), recoding)
    except _Unusable as error:
        kind, message = error.args
        return PairScan(Issue(kind, path.name, message, True))


def label_values(path: str, recoding: Recoding) -> np.ndarray | None:
    """Return uint8 ``(H, W)`` that training can read in place of a mask; None if values are lost.

    Values of 2 or 4 bits are those of the file, one channel is taken of several that are equal.
    """
    try:
        content = Path(path).read_bytes()
        image: Image.Image = Image.open(io.BytesIO(content))
        image.load()
    except Exception:  # decoders raise whatever the damage leads them to; the scan says what it is
        return None
    if content[:8] == _PNG and content[25] == 0 and content[24] in (2, 4):
        image = Image.fromarray(np.asarray(image) // (255 // (2 ** content[24] - 1)))
    recoded = recoding(image)
    if recoded is not None:
        return None if recoded.foreign else recoded.values
    values = np.asarray(image)
    if image.mode in ('LA', 'RGB', 'RGBA'):
        values = values[..., : 1 if image.mode == 'LA' else 3]
        if (values != values[..., :1]).any():
            return None
        values = values[..., 0]
    if values.ndim != 2 or values.min() < 0 or values.max() > IGNORED:
        return None
    small = values.astype(np.uint8)
    return small if (small == values).all() else None


def _read_label(path: str, recoding: Recoding) -> PairScan:
    """Return what a mask holds, without an issue."""
    try:
        content = Path(path).read_bytes()
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # decoders raise whatever the damage leads them to
        raise _Unusable(
            'unreadable label',
            f'label {path} cannot be read: {_reason(error, path)}. Export it again.',
        ) from error
    if image.format == 'JPEG':
        raise _Unusable(
            'JPEG label',
            f'label {path} is a JPEG file whatever its name says, and the compression changes '
            'label values. Export the masks as PNG.',
        )
    if content[:8] == _PNG and content[25] == 0 and content[24] in (2, 4):  # grey, 2 or 4 bits
        factor = 255 // (2 ** content[24] - 1)
        raise _Unusable(
            'label of 2 or 4 bits',
            f'label {path} is a grey PNG of {content[24]} bits per pixel, whose values reading '
            f'multiplies by {factor}. Save it with 8 bits.',
        )
    recoded = recoding(image)
    if recoded is not None:
        counts = np.bincount(recoded.values.ravel(), minlength=256)
        return PairScan(None, image.size, counts, True, recoded.foreign)
    if image.mode not in ('1', 'L', 'P'):
        raise _wrong_mode(path, image)
    counts = np.array(image.histogram(), dtype=np.int64)
    if image.mode == '1':  # read as 0 and 1, counted as 0 and 255
        counts[[1, 255]] = counts[[255, 1]]
    return PairScan(None, image.size, counts)


def _reason(error: Exception, path: str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if os.path.getsize(path) == 0:
        return 'it is empty (0 bytes)'
    if isinstance(error, Image.UnidentifiedImageError):
        return 'it is no image'
    if isinstance(error, Image.DecompressionBombError):
        return too_large()
    return f'it is damaged or cut short ({error})'


def _wrong_mode(path: str, image: Image.Image) -> _Unusable:
    if image.mode[0] in 'IF':
        return _Unusable(
            'label of more than 8 bits',
            f'label {path} has more than 8 bits per pixel (values up to {_largest(image)}), of '
            'which training would keep the lower 8. Save it with 8 bits, or write the value of '
            'every class, like classes: {ground: 0, cell: 1000}.',
        )
    if image.mode in ('LA', 'RGB', 'RGBA'):
        grey = np.asarray(image)[..., : 1 if image.mode == 'LA' else 3]
        if (grey == grey[..., :1]).all():
            return _Unusable(
                'label in colours',
                f'label {path} is saved as {image.mode} with equal channels; one index per pixel '
                'is expected. Keep the first channel alone, or write the value of every class, '
                'like classes: {ground: 0, cell: 1}.',
            )
    colours = image.getcolors(maxcolors=256)
    number = 'more than 256' if colours is None else str(len(colours))
    return _Unusable(
        'label in colours',
        f'label {path} is colour-coded ({image.mode}, {number} colours); one index per pixel is '
        'expected, the position of its class under classes:. If colours are the classes, give '
        f'every class its own, like classes: {{{_some_colours(image)}}}, and others under ignore:',
    )


def _some_colours(image: Image.Image) -> str:
    """Return the two most frequent colours of a mask, as they are written under ``classes``."""
    pixels = np.asarray(image.convert('RGB')).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    frequent = colours[np.argsort(-counts)[:2]].tolist()
    return ', '.join(
        f"{name}: '#{red:02x}{green:02x}{blue:02x}'"
        for name, (red, green, blue) in zip(('sky', 'road'), frequent, strict=False)
    )


def _largest(image: Image.Image) -> str:
    return f'{np.asarray(image).max():g}'
