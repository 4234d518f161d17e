"""Windows of a TIFF that is too large to be read whole, with the pixels that OpenCV reads."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casvit_mm.deploy.images import MAX_SIDE, as_bgr
from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit

__all__ = ['WindowedImage', 'open_windows']

_MOST = 16  # times the pixel limit: what an image that is read by windows may have
_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # of TIFF and BigTIFF, in both byte orders
_COLOURS = ('MINISBLACK', 'MINISWHITE', 'RGB', 'PALETTE', 'YCBCR')
_COMPRESSIONS = ('NONE', 'LZW', 'DEFLATE', 'ADOBE_DEFLATE', 'PACKBITS', 'JPEG')
_BAND = 128  # rows that are read at once where the file does not say how many belong together


def open_windows(path: Any) -> WindowedImage | None:
    """Return an image as windows if it is a TIFF with more pixels than may be read at once.

    Args:
        path: Of a file; whatever else an image can be is never read by windows.

    Returns:
        None of another image, and where ``tifffile`` is not installed.

    Raises:
        InputError: If such a TIFF is damaged, or not of a kind that is read by windows.
    """
    if not isinstance(path, (str, Path)) or find_spec('tifffile') is None:
        return None
    try:
        with open(path, 'rb') as file:
            if file.read(4) not in _STARTS:
                return None
    except (OSError, ValueError):
        return None  # read_image says why
    tifffile = import_module('tifffile')
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            if page.imagewidth * page.imagelength <= pixel_limit():
                return None
            return WindowedImage(Path(path), page)
    except InputError:
        raise
    except Exception as error:  # whatever a reader raises on bytes that others made
        raise InputError(f'{path} is no TIFF that can be read by windows: {error}') from error


class WindowedImage:
    """A TIFF as an array of which windows are read.

    ``image[top:bottom, left:right]`` is BGR, uint8 ``(h, w, 3)``: the pixels that
    :func:`casvit_mm.deploy.read_image` gives for the same file when it is small enough. What is
    decoded stays in memory until a window begins below it, so windows should go from top to
    bottom: that is 3 bytes for each pixel of a row of windows.

    Args:
        path: The file.
        page: Its first page, of ``tifffile``.

    Attributes:
        shape: Height, width and 3.

    Raises:
        InputError: If its kind of TIFF is not read by windows, naming what stands against it.
    """

    def __init__(self, path: Path, page: Any) -> None:
        self.path, self._page = path, page
        self.shape = (int(page.imagelength), int(page.imagewidth), 3)
        _check(path, page)
        self._planes = page.samplesperpixel if page.planarconfig == 2 else 1
        # Rows without compression that lie one after the other need not be read by strips.
        self._raw = page.is_contiguous and page.compression.name == 'NONE' and not page.is_tiled
        if self._raw:
            rows = max(1, min(_BAND, pixel_limit() // self.shape[1], self.shape[0]))
            self._side = rows, self.shape[1]
        elif page.is_tiled:
            self._side = page.tilelength, page.tilewidth
        else:
            self._side = min(page.rowsperstrip, self.shape[0]), self.shape[1]
        if self._side[0] * self._side[1] > pixel_limit():
            raise InputError(
                f'{path} is one strip of {self._side[1]} x {self._side[0]} pixels, which can only '
                'be decoded whole. Save it with tiles'
            )
        # Read while the file is open.
        self._read, self._tables, self._header = page.decode, page.jpegtables, page.jpegheader
        self._colormap = page.colormap if page.photometric.name == 'PALETTE' else None
        self._alpha = _alpha(page)
        self._decoded: dict[tuple[int, int], np.ndarray] = {}  # segments by row and column

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """Return a window, BGR, uint8 ``(h, w, 3)``.

        Raises:
            InputError: If its part of the file cannot be decoded.
        """
        (top, bottom, _), (left, right, _) = (
            part.indices(length) for part, length in zip(window, self.shape, strict=False)
        )
        height, width = self._side
        self._decoded = {
            place: part for place, part in self._decoded.items() if (place[0] + 1) * height > top
        }
        pixels = np.zeros((bottom - top, right - left, 3), np.uint8)
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                part = self._segment(row, column)
                y, x = row * height, column * width
                rows = slice(max(top, y), min(bottom, y + height))
                columns = slice(max(left, x), min(right, x + width))
                pixels[
                    rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
                ] = part[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        return pixels

    def reduced(self, most: int) -> np.ndarray:
        """Return the whole image, its longer side ``most`` pixels at most, BGR, uint8.

        Each pixel is the mean of a square of the image, whose side is a whole number.
        """
        height, width, _ = self.shape
        factor = -(-max(height, width) // most)
        rows = factor * max(1, self._side[0] // factor)
        small = [
            cv2.resize(
                band, (-(-width // factor), -(-len(band) // factor)), interpolation=cv2.INTER_AREA
            )
            for band in (self[top : top + rows, :] for top in range(0, height, rows))
        ]
        return np.concatenate(small)

    def _segment(self, row: int, column: int) -> np.ndarray:
        """Return a tile or strip, BGR, uint8 ``(h, w, 3)``."""
        if (row, column) not in self._decoded:
            try:
                self._decoded[row, column] = self._bgr(self._decode(row, column))
            except Exception as error:  # as many kinds as there are codecs
                raise InputError(
                    f'{self.path} cannot be decoded around row {row * self._side[0]}: {error}'
                ) from error
        return self._decoded[row, column]

    def _decode(self, row: int, column: int) -> np.ndarray:
        """Return the samples of a tile or strip, ``(h, w, samples)``, as they are stored."""
        across = -(-self.shape[1] // self._side[1])
        down = -(-self.shape[0] // self._side[0])
        planes = []
        with self.path.open('rb') as file:
            for plane in range(self._planes):
                if self._raw:
                    planes.append(self._read_rows(file, plane, row))
                    continue
                index = (plane * down + row) * across + column
                file.seek(self._page.dataoffsets[index])
                content = file.read(self._page.databytecounts[index])
                samples, _, _ = self._read(
                    content or None, index, jpegtables=self._tables, jpegheader=self._header
                )
                if samples is None:  # a part that the file leaves out
                    each = self._page.samplesperpixel // self._planes
                    samples = np.zeros((1, *self._side, each), self._page.dtype)
                planes.append(samples[0])
        return np.concatenate(planes, -1)

    def _read_rows(self, file: Any, plane: int, row: int) -> np.ndarray:
        page = self._page
        each = page.samplesperpixel // self._planes
        kind = page.dtype.newbyteorder(page.parent.byteorder)
        length = self.shape[1] * each * kind.itemsize  # bytes of a row
        first = row * self._side[0]
        number = min(self._side[0], self.shape[0] - first)
        file.seek(page.dataoffsets[0] + (plane * self.shape[0] + first) * length)
        content = file.read(number * length)
        return np.frombuffer(content, kind).reshape(number, self.shape[1], each)

    def _bgr(self, samples: np.ndarray) -> np.ndarray:
        """Return stored samples ``(h, w, samples)`` as OpenCV and its libtiff convert them."""
        if self._colormap is not None:
            return (self._colormap[::-1, samples[..., 0]] >> 8).astype(np.uint8).transpose(1, 2, 0)
        if self._page.photometric.name in ('MINISBLACK', 'MINISWHITE'):
            grey = as_bgr(
                np.ascontiguousarray(samples[..., 0]).astype(self._page.dtype, copy=False)
            )
            return 255 - grey if self._page.photometric.name == 'MINISWHITE' else grey
        if self._page.dtype == np.uint16:  # libtiff rounds, where grey is cut off
            samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
        bgr = samples[..., 2::-1]
        if self._alpha is not None:
            alpha = samples[..., self._alpha, None].astype(np.uint16)
            bgr = ((bgr * alpha + 127) // 255).astype(np.uint8)
        return np.ascontiguousarray(bgr)


def _alpha(page: Any) -> int | None:
    """Return which sample libtiff multiplies the colours with."""
    if page.photometric.name == 'RGB' and page.samplesperpixel > 3 and 2 in page.extrasamples[:1]:
        return 3
    return None


def _check(path: Path, page: Any) -> None:
    """Refuse a page that is not read by windows.

    Raises:
        InputError: Naming what stands against it.
    """
    height, width = page.imagelength, page.imagewidth
    colour, compression = (getattr(v, 'name', str(v)) for v in (page.photometric, page.compression))
    orientation = page.tags.valueof('Orientation', 1)
    against = ''
    if max(height, width) > MAX_SIDE or height * width > _MOST * pixel_limit():
        against = f'more than {_MOST * pixel_limit():,} pixels, or a side above {MAX_SIDE:,}'
    elif orientation != 1:
        against = f'an orientation of {orientation} in its header; turn the pixels and save it'
    elif colour not in _COLOURS or (colour == 'YCBCR' and compression != 'JPEG'):
        against = f'colours of the kind {colour}; save it in RGB or grey'
    elif compression not in _COMPRESSIONS:
        against = f'the compression {compression}; save it with deflate'
    elif page.dtype not in (np.uint8, np.uint16) or page.bitspersample not in (8, 16):
        against = f'{page.bitspersample} bits per channel ({page.dtype}); save it with 8 or 16'
    elif page.imagedepth != 1 or (colour in ('RGB', 'YCBCR') and page.samplesperpixel < 3):
        against = f'{page.samplesperpixel} channels of depth {page.imagedepth}'
    elif compression in ('LZW', 'JPEG') and find_spec('imagecodecs') is None:
        against = f"the compression {compression}, which needs: pip install 'casvit_mm[tiff]'"
    if against:
        raise InputError(f'{path}, {width} x {height} pixels, cannot be read by windows: {against}')
