"""From a file or an array to the pixels that a network sees, with OpenCV and NumPy alone.

Sizes and pixels are those of the test pipelines of mmdet, mmseg and mmpretrain. Where a pipeline
resizes by OpenCV, so does this module; where it resizes by Pillow, the pixels equal Pillow's bit
for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casvit_mm.errors import InputError
from casvit_mm.io import PIXEL_LIMIT, pixel_limit

__all__ = [
    'MAX_SIDE',
    'Resized',
    'as_bgr',
    'decode_image',
    'enlarge_canvas',
    'quiet_opencv',
    'read_image',
    'resize',
    'too_large',
]

MAX_SIDE = 2**20  # OpenCV's limit of width and height

_OPENCV = {'bilinear': cv2.INTER_LINEAR, 'bicubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}
_PILLOW_BITS = 22  # fraction of Pillow's fixed-point weights for 8-bit images
_BLOCK = 16  # output rows that are resampled at once


@dataclass(frozen=True)
class Resized:
    """An image at the size of the network's input.

    Attributes:
        pixels: BGR, uint8 ``(H, W, 3)``.
        image_size: Height and width of the image itself within ``pixels``; the rest, below and on
            the right, is padding.
        original_size: Height and width of the image before it was resized.
    """

    pixels: np.ndarray
    image_size: tuple[int, int]
    original_size: tuple[int, int]


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing what is wrong with a file; our own message says it."""
    # OpenCV 5 has moved the two functions.
    log: Any = cv2 if hasattr(cv2, 'getLogLevel') else getattr(cv2.utils, 'logging')  # noqa: B009
    level = log.getLogLevel()
    log.setLogLevel(0)
    try:
        yield
    finally:
        log.setLogLevel(level)


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as training reads it, whatever its channels and depth.

    OpenCV decodes the file as it does in the ``LoadImageFromFile`` of the mm packages, so a model
    sees the pixels that it would have seen in training:

    - grey and palette become three channels; CMYK is converted; alpha is dropped, so what is under
      transparent pixels becomes visible;
    - of 16 bits the upper 8 are kept, however few of them are used;
    - the EXIF orientation is applied, where OpenCV knows it (JPEG, PNG, TIFF);
    - of several pages or frames the first is taken.

    Args:
        path: The file.

    Returns:
        BGR pixels, uint8 ``(H, W, 3)``.

    Raises:
        InputError: If the file cannot be read, is empty, cut short, no image OpenCV can decode, or
            has more pixels than :func:`casvit_mm.io.pixel_limit`.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # a name may hold what no name can
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f'{path} cannot be read: {reason}') from error
    with quiet_opencv():
        return decode_image(content, path)


def decode_image(content: bytes, path: str | Path) -> np.ndarray:
    """Return what :func:`read_image` does, for the bytes of the file ``path``."""
    if not content:
        raise InputError(f'{path} is empty (0 bytes)')
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        reason = too_large() if 'CV_IO_MAX_IMAGE' in str(error) else error.err
        raise InputError(f'{path} cannot be decoded: {reason}') from error
    if image is None:
        raise InputError(
            f'{path} ({len(content)} bytes) cannot be decoded: it is cut short, damaged, no image, '
            'or has 32 bits per channel (save it with 8 or 16)'
        )
    return image


def too_large() -> str:
    """Say why an image is refused by its header."""
    return (
        f'its header declares more than {pixel_limit():,} pixels, or a side above {MAX_SIDE:,}. If '
        f'that is true, set the environment variable {PIXEL_LIMIT} to a larger number, or save it '
        'as a TIFF with tiles, which predictions with --tile read by windows (pip install '
        "'casvit_mm[tiff]')"
    )


def as_bgr(image: np.ndarray) -> np.ndarray:
    """Convert an array to the form that :func:`read_image` returns.

    Args:
        image: ``(H, W)`` grey, ``(H, W, 1)``, ``(H, W, 3)`` BGR or ``(H, W, 4)`` BGRA, uint8 or
            uint16.

    Raises:
        InputError: If it is none of these.
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8 or image.size == 0 or image.ndim not in (2, 3):
        raise InputError(
            f'an image must be uint8 or uint16 of shape (H, W), (H, W, 3) or (H, W, 4), got '
            f'{image.dtype} {image.shape}'
        )
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if channels not in (3, 4):
        raise InputError(f'an image must have 1, 3 or 4 channels, got {channels}')
    return np.ascontiguousarray(image[..., :3])


def resize(image: np.ndarray, steps: Sequence[dict[str, Any]], fill: Sequence[int]) -> Resized:
    """Resize an image as a test pipeline does.

    Args:
        image: BGR, uint8 ``(H, W, 3)``.
        steps: Steps of the pipeline in their order; ``op`` of each is a key of ``_STEPS``, whose
            function says what else the step has.
        fill: Colour of padding, BGR.

    Raises:
        InputError: If a step would enlarge it beyond :func:`casvit_mm.io.pixel_limit`.
    """
    original_size = _size(image)
    image_size = None
    for step in steps:
        image, image_size = _STEPS[step['op']](image, step, fill)
    return Resized(image, image_size or _size(image), original_size)


def _size(image: np.ndarray) -> tuple[int, int]:
    """Return height and width."""
    height, width = image.shape[:2]
    return height, width


def enlarge_canvas(resized: Resized, min_side: int, fill: Sequence[int]) -> Resized:
    """Pad an image below and on the right until each side has ``min_side`` pixels."""
    height, width = (max(side, min_side) for side in resized.pixels.shape[:2])
    return replace(resized, pixels=_pad(resized.pixels, height, width, fill))


def _pad(image: np.ndarray, height: int, width: int, fill: Sequence[int]) -> np.ndarray:
    _check_enlarged(image, height, width)
    below, right = height - image.shape[0], width - image.shape[1]
    colour = [float(value) for value in fill]
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=colour)


# The resized image, and the height and width of the image itself where the step has padded it.
_Step = tuple[np.ndarray, tuple[int, int] | None]


def _fit(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Scale to the largest size whose long and short side are within those of ``scale``."""
    height, width = image.shape[:2]
    long, short = max(step['scale']), min(step['scale'])
    factor = min(long / max(height, width), short / min(height, width))
    return _scaled(image, height * factor, width * factor, step), None


def _letterbox(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Scale to lie within ``size``, height and width, and fill what is left below or right."""
    height, width = image.shape[:2]
    factor = min(step['size'][0] / height, step['size'][1] / width)
    image = _scaled(image, height * factor, width * factor, step)
    height, width = step['size']
    return _pad(image, height, width, fill), _size(image)


def _stretch(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Scale to ``size``, height and width."""
    height, width = step['size']
    return _interpolate(image, height, width, step['interpolation']), None


def _multiple(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Stretch both sides to the next multiple of ``divisor``."""
    height, width = (-(-side // step['divisor']) * step['divisor'] for side in image.shape[:2])
    return _interpolate(image, height, width, step['interpolation']), None


def _short_edge(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Scale so that the short side is ``size``."""
    height, width = image.shape[:2]
    size = step['size']
    height, width = (
        (int(size * height / width), size) if width < height else (size, int(size * width / height))
    )
    return _interpolate(image, height, width, step['interpolation']), None


def _pad_to_size(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Fill up to ``size``, height and width, with ``colour``; a larger side stays as it is."""
    height, width = (max(pair) for pair in zip(step['size'], image.shape, strict=False))
    return _pad(image, height, width, step['colour']), _size(image)


def _pad_to_square(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Fill up the shorter side with ``colour`` until it is as long as the other one."""
    side = max(image.shape[:2])
    return _pad(image, side, side, step['colour']), _size(image)


def _center_crop(image: np.ndarray, step: dict[str, Any], fill: Sequence[int]) -> _Step:
    """Cut out the middle ``size``, height and width, or what there is of it."""
    height, width = (min(pair) for pair in zip(step['size'], image.shape, strict=False))
    top, left = (round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2))
    return np.ascontiguousarray(image[top : top + height, left : left + width]), None


_STEPS = {
    'fit': _fit,
    'letterbox': _letterbox,
    'stretch': _stretch,
    'multiple': _multiple,
    'short_edge': _short_edge,
    'center_crop': _center_crop,
    'pad': _pad_to_size,
    'pad_square': _pad_to_square,
}


def _scaled(image: np.ndarray, height: float, width: float, step: dict[str, Any]) -> np.ndarray:
    # A very thin image keeps one pixel.
    rows, columns = (max(1, int(side + 0.5)) for side in (height, width))
    return _interpolate(image, rows, columns, step['interpolation'])


def _check_enlarged(image: np.ndarray, height: int, width: int) -> None:
    """Refuse to make an image larger than one that could be read: it is thin beyond reason."""
    if height * width > pixel_limit():
        raise InputError(
            f'an image of {image.shape[1]} x {image.shape[0]} pixels would be enlarged to '
            f'{width} x {height}, more than {pixel_limit():,} pixels. Cut off what is not needed'
        )


def _interpolate(image: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    _check_enlarged(image, height, width)
    library, _, method = interpolation.rpartition('-')
    if library == 'pillow':
        return _resize_as_pillow(image, height, width, method)
    return cv2.resize(image, (width, height), interpolation=_OPENCV[method])


def _resize_as_pillow(image: np.ndarray, height: int, width: int, method: str) -> np.ndarray:
    """Resize as ``PIL.Image.resize`` does: along rows, then along columns, each time to uint8."""
    if image.shape[1] != width:
        image = _resample(image.transpose(1, 0, 2), width, method).transpose(1, 0, 2)
    if image.shape[0] != height:
        image = _resample(image, height, method)
    return np.ascontiguousarray(image)


def _resample(image: np.ndarray, size: int, method: str) -> np.ndarray:
    """Resample the first axis of ``(N, M, 3)`` to ``size``: uint8 ``(size, M, 3)``.

    Where an image shrinks, the filter widens with the step, so that every input pixel counts.
    OpenCV's filter does not.
    """
    length = len(image)
    step = length / size  # input pixels per output pixel
    stretch = max(step, 1.0)
    reach = {'bilinear': 1.0, 'bicubic': 2.0}[method] * stretch
    centres = (np.arange(size) + 0.5) * step  # of the output pixels, in input pixels
    starts = np.maximum((centres - reach + 0.5).astype(int), 0)  # their first input pixels
    ends = np.minimum((centres + reach + 0.5).astype(int), length)
    out = np.empty((size, *image.shape[1:]), np.uint8)
    half = 2 ** (_PILLOW_BITS - 1)  # rounds, where the division below would cut off
    # A block of output rows reads only a few input rows.
    for first in range(0, size, _BLOCK):
        block = slice(first, first + _BLOCK)
        read = slice(starts[block].min(), ends[block].max())
        rows = image[read].reshape(read.stop - read.start, -1).astype(np.float64)  # (n, M * 3)
        positions = np.arange(read.start, read.stop)
        inside = (positions >= starts[block, None]) & (positions < ends[block, None])  # (block, n)
        distances = np.abs((positions + 0.5 - centres[block, None]) / stretch)
        weights = _pillow_weights(np.where(inside, _FILTERS[method](distances), 0.0))
        total = weights @ rows  # (block, M * 3), whole numbers below 2**53: exact
        values = np.floor((total + half) / 2**_PILLOW_BITS).clip(0, 255)
        out[block] = values.reshape(-1, *image.shape[1:])
    return out


def _pillow_weights(weights: np.ndarray) -> np.ndarray:
    """Return weights of input pixels, a row for each output pixel, in Pillow's fixed point."""
    scaled = weights / weights.sum(1, keepdims=True) * 2**_PILLOW_BITS
    return np.trunc(scaled + np.copysign(0.5, scaled))  # rounded half away from zero


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - x, 0)


def _cubic(x: np.ndarray) -> np.ndarray:
    near = (1.5 * x - 2.5) * x * x + 1
    far = -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_FILTERS = {'bilinear': _triangle, 'bicubic': _cubic}
