"""The run-length encoding of masks that Label Studio's brush writes.

It packs the bytes red, green, blue and alpha of every pixel, along the rows, into bits: 32 for the
number of bytes, 5 for the bits of a value less one, four times 4 for the bits of the four kinds of
run lengths less one; then, for each run, 1 bit for whether one value repeats, 2 for its kind of
length, the length less one, and the value, or as many values as the length says
(https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack). A pixel belongs to the mask
where alpha is above 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ['decode_brush', 'encode_brush']

_CHANNELS = 4
_LENGTH_BITS = (3, 4, 8, 16)  # of the four kinds of runs, as Label Studio writes them
_VALUE_BITS = 8


def decode_brush(rle: Any, width: int, height: int) -> np.ndarray:
    """Return a mask, bool ``(height, width)``.

    Args:
        rle: The list of bytes under ``rle``.
        width: Of the image.
        height: Of the image.

    Raises:
        ValueError: If it is no such list, is cut short, or is of another image size.
    """
    try:
        packed = np.array(rle, dtype=np.int64)
        if packed.ndim != 1 or packed.min() < 0 or packed.max() > 255:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError('has a brush mask that is no list of bytes') from None
    bits = _Bits(packed.astype(np.uint8))
    try:
        total = bits.take(32)
        if total != width * height * _CHANNELS:
            raise ValueError(
                f'has a brush mask of {total // _CHANNELS} pixels; the image has {width} x {height}'
            )
        value_bits = bits.take(5) + 1
        length_bits = [bits.take(4) + 1 for _ in range(4)]
        values = np.zeros(total, dtype=bool)
        at = 0
        while at < total:
            repeats = bits.take(1)
            end = at + bits.take(length_bits[bits.take(2)]) + 1
            if repeats:
                values[at:end] = bits.take(value_bits) > 0
            else:
                found = [bits.take(value_bits) > 0 for _ in range(at, end)]
                values[at:end] = found[: max(total - at, 0)]
            at = end
    except EOFError:
        raise ValueError('has a brush mask that is cut short. Export it again.') from None
    return values.reshape(height, width, _CHANNELS)[..., -1]


class _Bits:
    """Reads numbers from bits, the highest one first."""

    def __init__(self, packed: np.ndarray) -> None:
        self._text = (np.unpackbits(packed) + ord('0')).tobytes().decode()
        self._at = 0

    def take(self, number: int) -> int:
        """Return the number in the next bits."""
        start, self._at = self._at, self._at + number
        if self._at > len(self._text):
            raise EOFError
        return int(self._text[start : self._at], 2)


def encode_brush(mask: np.ndarray) -> list[int]:
    """Return the bytes for a mask, bool ``(H, W)``, which is opaque white where it is true."""
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths = np.diff(ends, prepend=0) * _CHANNELS
    pieces = [f'{flat.size * _CHANNELS:032b}{_VALUE_BITS - 1:05b}']
    pieces += [f'{bits - 1:04b}' for bits in _LENGTH_BITS]
    longest = 1 << _LENGTH_BITS[-1]
    for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
        value = f'{255 * int(flat[end - 1]):0{_VALUE_BITS}b}'
        while length:
            run = min(length, longest)
            kind = next(i for i, bits in enumerate(_LENGTH_BITS) if run <= 1 << bits)
            pieces.append(f'1{kind:02b}{run - 1:0{_LENGTH_BITS[kind]}b}{value}')
            length -= run
    text = ''.join(pieces)
    packed = np.packbits(np.frombuffer(text.encode(), np.uint8) - ord('0'))
    return packed.tolist()
