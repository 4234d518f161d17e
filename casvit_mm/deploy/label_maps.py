"""The label map of a large image from the logits of its tiles, without holding those of all."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from casvit_mm.deploy.tiles import Tiles

__all__ = ['join_logits']


def join_logits(
    logits: Iterable[np.ndarray],
    tiles: Tiles,
    size: tuple[int, int],
    num_classes: int,
    label_thr: float | None = None,
) -> np.ndarray:
    """Return the class of each pixel by the mean of the logits of all tiles that hold it.

    That is what mmseg's mode ``slide`` computes. A pixel is done with the last tile that holds it,
    so that only sums of the overlaps are kept: 4 bytes by class, width of the image and height of
    the overlap.

    Args:
        logits: Of each tile, ``(C, h, w)``, in the order of :meth:`Tiles.places`.
        tiles: The tiles.
        size: Height and width of the image.
        num_classes: How many labels there are.
        label_thr: Probability above which a single logit is class 1; None where the largest wins.

    Returns:
        ``(H, W)``, uint8; uint16 from 257 classes on.
    """
    height, width = size
    rows, columns = tiles.starts(height), tiles.starts(width)
    holding = _holding(rows, tiles.side, height), _holding(columns, tiles.side, width)
    labels = np.zeros(size, np.uint8 if num_classes <= 256 else np.uint16)
    maps = iter(logits)
    above: np.ndarray | None = None  # sums (C, overlap, W) of the tiles before this row
    for top, below in pairwise([*rows, height]):
        left_sums: np.ndarray | None = None  # of the tiles before this one: (C, h, overlap)
        kept: list[np.ndarray] = []
        for left, right in pairwise([*columns, width]):
            sums = np.array(next(maps), np.float32)
            if left_sums is not None:
                sums[..., : left_sums.shape[2]] += left_sums
            left_sums = sums[..., right - left :].copy()
            sums = sums[..., : right - left]
            if above is not None:
                sums[:, : above.shape[1]] += above[..., left:right]
            counts = holding[0][top:below, None] * holding[1][None, left:right]
            labels[top:below, left:right] = _best(sums[:, : below - top], counts, label_thr)
            kept.append(sums[:, below - top :].copy())
        above = np.concatenate(kept, 2)
    return labels


def _holding(starts: list[int], side: int, length: int) -> np.ndarray:
    """Return how many tiles hold each position of an axis, ``(length,)``."""
    places = np.arange(length)
    return sum((places >= start) & (places < start + side) for start in starts) + np.zeros(length)


def _best(sums: np.ndarray, counts: np.ndarray, label_thr: float | None) -> np.ndarray:
    """Return the labels of summed logits, ``(C, h, w)``, of ``(h, w)`` tiles each."""
    if label_thr is not None:
        return 1 / (1 + np.exp(-sums[0] / counts)) > label_thr
    return sums.argmax(0)  # that of the mean
