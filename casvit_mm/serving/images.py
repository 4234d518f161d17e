"""The image of a request: its size by the header alone, then its pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from casvit_mm.deploy.images import decode_image, quiet_opencv
from casvit_mm.errors import InputError

__all__ = ['decode']

_FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'JPEG2000', 'AVIF', 'PPM')
_NAME = 'the image'  # in messages, where a file would have its path


def decode(content: bytes, max_pixels: int) -> np.ndarray:
    """Return the pixels that :func:`casvit_mm.deploy.read_image` reads from the same file.

    Args:
        content: The file.
        max_pixels: More are refused before they are decoded.

    Returns:
        BGR, uint8 ``(H, W, 3)``.

    Raises:
        InputError: If it is no image of a known format, damaged, or too large.
    """
    if not content:
        raise InputError('the request holds no image: it is empty')
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise _too_many(max_pixels) from error
    except Exception as error:  # whatever a damaged header makes of a reader
        raise InputError(
            f'the image cannot be read: it is damaged, or none of {", ".join(_FORMATS)}'
        ) from error
    if width * height > max_pixels:
        raise _too_many(max_pixels, f'{width} x {height} = ')
    with quiet_opencv():
        pixels = decode_image(content, _NAME)
    if pixels.shape[0] * pixels.shape[1] > max_pixels:  # two headers in one file
        raise _too_many(max_pixels)
    return pixels


def _too_many(max_pixels: int, found: str = '') -> InputError:
    return InputError(
        f'the image has {found}more than {max_pixels:,} pixels, the limit of this server. Make it '
        'smaller'
    )
