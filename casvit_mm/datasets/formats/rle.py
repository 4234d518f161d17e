"""COCO's run-length encoding (RLE) of a mask: whether it holds what it declares."""

from __future__ import annotations

from typing import Any

import numpy as np

from casvit_mm.datasets.formats.coco_values import is_size

__all__ = ['find_rle_fault', 'rle_counts']

_HUGE = 1 << 40  # beyond any pixel count


def find_rle_fault(rle: dict[str, Any], size: tuple[int, int] | None) -> tuple[str, str] | None:
    """Return the kind of issue and what is wrong; None for a sound encoding.

    pycocotools and mmdet check none of this: they decode a damaged one without complaint, write
    past the end of the mask, or fail in the middle of an epoch.

    Args:
        rle: With ``counts`` and ``size``.
        size: Width and height of its image; None if they are unknown.
    """
    sides = rle.get('size')
    if not (isinstance(sides, list) and len(sides) == 2 and is_size(*sides)):
        return 'RLE that does not decode', f'has RLE size {sides!r}; expected [height, width]'
    counts = rle_counts(rle.get('counts'))
    if counts is None or counts.sum() != sides[0] * sides[1]:
        found = 'no run lengths' if counts is None else f'{counts.sum()} pixels'
        message = f'has an RLE of {found}; {sides[0]} x {sides[1]} are expected'
        return 'RLE that does not decode', f'{message}. Export it again'
    if size is not None and sides != [size[1], size[0]]:
        message = f'has RLE size {sides}, but its image is {size[1]} high and {size[0]} wide'
        return 'RLE of another size', f'{message}. Export it again from this image'
    return None


def rle_counts(counts: Any) -> np.ndarray | None:
    """Return the run lengths of COCO's RLE, or None if ``counts`` are none."""
    if isinstance(counts, list):
        good = bool(counts) and all(type(c) is int and 0 <= c < _HUGE for c in counts)
        good = good and sum(counts) < _HUGE  # NumPy's sum would overflow
        return np.array(counts, dtype=np.int64) if good else None
    if not isinstance(counts, str) or not counts.isascii():
        return None
    # Groups of five bits, lowest first; the sixth bit says that more follow, the fifth of the last
    # group is the sign. From the fourth run on, the difference to the last but one is stored.
    groups = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - 48
    if len(groups) == 0 or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return None
    ends = np.flatnonzero(groups & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 6:  # more than 35 bits: no image is that large
        return None
    runs = np.add.reduceat((groups & 31) << (5 * places), starts)
    runs -= np.where(groups[ends] & 16, 1 << (5 * (ends - starts + 1)), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs if runs.min() >= 0 else None
