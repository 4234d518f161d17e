"""Reads a mask and the header of its image: what training would trip over, and its values."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from casvit_mm.datasets.image_scan import END_BYTES, is_turned, lacks_end, unfit_size
from casvit_mm.datasets.images import read_image
from casvit_mm.datasets.issues import Issue
from casvit_mm.deploy.images import too_large
from casvit_mm.errors import InputError
from casvit_mm.segmentation.data.sources import ImagePair

__all__ = ['PairScan', 'scan_pair']

_PNG = b'\x89PNG\r\n\x1a\n'
_ADVICE = 'docs/custom_dataset.md#segmentation-masks shows how to convert.'


@dataclass(frozen=True)
class PairScan:
    """What an image and its segmentation mask hold.

    Attributes:
        issue: Why they cannot be trained on; None if they can.
        size: Width and height in pixels; zeros if unknown.
        counts: Pixels per value of the mask, int64 ``(256,)``; None if it has no values that
            training could read.
    """

    issue: Issue | None
    size: tuple[int, int] = (0, 0)
    counts: np.ndarray | None = None


class _Unusable(Exception):
    """Why a file cannot be used: kind of issue, and message."""


def scan_pair(pair: ImagePair) -> PairScan:
    """Read the values of the mask, and the size of the image as training sees it.

    Masks are read as by mmseg's ``LoadAnnotations``: by Pillow, unchanged, so a palette gives
    its indices and one bit gives 0 and 1.
    """
    size, counts = (0, 0), None
    try:
        size, counts = _read_label(pair.label)
        seen, turned = _image_size(pair.image)
        if seen != size:
            exif = ' once its EXIF orientation is applied, as training does' if turned else ''
            raise _Unusable(
                'label of another size',
                f'label {pair.label} is {size[0]} x {size[1]} pixels, but its image {pair.image} '
                f'is {seen[0]} x {seen[1]}{exif}. Export the mask from this image, or resize '
                'it without interpolation.',
            )
    except _Unusable as error:
        kind, message = error.args
        return PairScan(Issue(kind, Path(pair.label).name, message, True), size, counts)
    return PairScan(None, size, counts)


def _read_label(path: str) -> tuple[tuple[int, int], np.ndarray]:
    """Return width and height, and pixels per value."""
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
    if image.mode not in ('1', 'L', 'P'):
        raise _wrong_mode(path, image)
    if content[:8] == _PNG and content[25] == 0 and content[24] in (2, 4):  # grey, 2 or 4 bits
        factor = 255 // (2 ** content[24] - 1)
        raise _Unusable(
            'label of 2 or 4 bits',
            f'label {path} is a grey PNG of {content[24]} bits per pixel, whose values reading '
            f'multiplies by {factor}. Save it with 8 bits. {_ADVICE}',
        )
    counts = np.array(image.histogram(), dtype=np.int64)
    if image.mode == '1':  # read as 0 and 1, counted as 0 and 255
        counts[[1, 255]] = counts[[255, 1]]
    return image.size, counts


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
            f'which training would keep the lower 8. Save it with 8 bits. {_ADVICE}',
        )
    if image.mode in ('LA', 'RGB', 'RGBA'):
        grey = np.asarray(image)[..., : 1 if image.mode == 'LA' else 3]
        if (grey == grey[..., :1]).all():
            return _Unusable(
                'label in colours',
                f'label {path} is saved as {image.mode} with equal channels; one index per pixel '
                f'is expected. Keep the first channel alone. {_ADVICE}',
            )
    colours = image.getcolors(maxcolors=256)
    number = 'more than 256' if colours is None else str(len(colours))
    return _Unusable(
        'label in colours',
        f'label {path} is colour-coded ({image.mode}, {number} colours); one index per pixel is '
        f'expected, the position of its class under classes:. {_ADVICE}',
    )


def _largest(image: Image.Image) -> str:
    return f'{np.asarray(image).max():g}'


def _image_size(path: str) -> tuple[tuple[int, int], bool]:
    """Return width and height as training sees them, and whether EXIF has exchanged them."""
    try:
        with Image.open(path) as image:
            if image.format not in ('JPEG', 'PNG'):  # of which OpenCV reads all kinds
                return _size_by_opencv(path), False
            turned = is_turned(image)
            size = image.size[::-1] if turned else image.size
            if (unfit := unfit_size(size)) is not None:
                raise _Unusable('unreadable image', f'image {path} cannot be used: {unfit}')
            if _seems_cut(path, image.format):
                image.load()
            return size, turned
    except Image.UnidentifiedImageError:
        return _size_by_opencv(path), False
    except _Unusable:
        raise
    except Exception as error:  # decoders raise whatever the damage leads them to
        raise _Unusable(
            'unreadable image', f'image {path} cannot be read: {_reason(error, path)}'
        ) from error


def _seems_cut(path: str, kind: str | None) -> bool:
    with open(path, 'rb') as file:
        file.seek(max(0, os.path.getsize(path) - END_BYTES))
        return lacks_end(file.read(), kind)


def _size_by_opencv(path: str) -> tuple[int, int]:
    """Return the size of a file that Pillow does not know and training may."""
    try:
        height, width = read_image(path).shape[:2]
    except InputError as error:
        raise _Unusable('unreadable image', f'image {error}') from error
    return width, height
