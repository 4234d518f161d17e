"""Images that look alike, found without comparing every image with every other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from casvit_mm.datasets.image_scan import ImageScan

__all__ = ['alike_pairs']

_DISTANCE = 16  # bits of 256: hashes of 64 bits confuse images that have much empty ground
_CORRELATION = 0.98
# Of two hashes that differ in 16 bits, one of 17 bands of bits is the same.
_BANDS = _DISTANCE + 1
_WINDOW = 16  # hashes compared with each one per band, at most
_BLOCK = 1 << 15  # pairs of thumbnails in memory at once
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def alike_pairs(scans: Sequence[ImageScan]) -> np.ndarray:
    """Find pairs of different files that look alike.

    Two images look alike if their 256-bit difference hashes differ in at most 16 bits and their
    16 x 17 thumbnails correlate by 0.98 or more. Hashes are sorted by each of 17 bands of their
    bits, and compared with those that agree in this band. In a band that more than 16 images share
    only neighbours are compared: of many images that are all alike each has some of its pairs, and
    the time does not grow by the square of the number of images.

    Args:
        scans: What the files hold; of identical files the first is looked at.

    Returns:
        Positions in ``scans``, the smaller one first, sorted, int64 ``(P, 2)``.
    """
    firsts = {scan.digest: i for i, scan in reversed(list(enumerate(scans)))}
    chosen = [i for i in sorted(firsts.values()) if scans[i].thumbnail is not None]
    if len(chosen) < 2:
        return np.zeros((0, 2), np.int64)
    thumbnails = np.stack([np.asarray(scans[i].thumbnail) for i in chosen]).astype(np.float32)
    close = _close_hashes((np.diff(thumbnails, axis=2) > 0).reshape(len(chosen), -1))
    flat = thumbnails.reshape(len(chosen), -1)
    alike = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(close), _BLOCK):
        block = close[start : start + _BLOCK]
        correlation = (flat[block[:, 0]] * flat[block[:, 1]]).mean(axis=1)
        alike.append(block[correlation >= _CORRELATION])
    return np.array(chosen)[np.concatenate(alike)]


def _close_hashes(bits: np.ndarray) -> np.ndarray:
    """Return pairs of rows of ``(N, 256)`` that differ in few bits, as ``(P, 2)``, sorted."""
    number, length = bits.shape
    packed = np.packbits(bits, axis=1)
    width = length // _BANDS
    found = [np.zeros(0, np.int64)]
    for band in range(_BANDS):
        # Sorted by this band first, then by the bits behind it.
        words = np.packbits(np.roll(bits, -band * width, axis=1), axis=1).view('>u8')
        order = np.lexsort(words.T[::-1])
        keys = words[order, 0].astype(np.uint64) >> np.uint64(64 - width)
        for step in range(1, min(_WINDOW + 1, number)):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            i, j = order[same], order[same + step]
            near = _ONES[packed[i] ^ packed[j]].sum(axis=1) <= _DISTANCE
            found.append(np.minimum(i, j)[near] * number + np.maximum(i, j)[near])
    return np.stack(np.divmod(np.unique(np.concatenate(found)), number), axis=1)
