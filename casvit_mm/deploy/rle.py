"""COCO's run-length encoding of masks, with NumPy alone; equal to that of pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ['encode_mask', 'runs_as_text']


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask, bool ``(H, W)``, as COCO's RLE: ``size`` and ``counts``, a text.

    ``pycocotools.mask.decode`` reads it. Runs go down the columns and begin with one of zeros.
    """
    height, width = mask.shape
    columns = np.flatnonzero(mask.any(0))
    first, last = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
    inside = np.zeros((last - first) * height + 2, np.int8)  # a zero before and after
    inside[1:-1] = mask[:, first:last].T.ravel()
    changes = np.flatnonzero(np.diff(inside)) + first * height
    runs = np.diff(np.concatenate([[0], changes, [height * width]]))
    if runs[-1] == 0 and len(runs) > 1:  # the mask reaches the last pixel
        runs = runs[:-1]
    return dict(size=[height, width], counts=runs_as_text(runs))


def runs_as_text(runs: np.ndarray) -> str:
    """Return the ``counts`` of runs, whole numbers ``(N,)``, as a text.

    A run is written as its difference to the last but one, six bits a letter.
    """
    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]
    letters, used = [], []
    more = np.ones(len(values), bool)
    while more.any():
        used.append(more)
        bits = values & 31
        values = values >> 5
        # The fifth bit is the sign of what follows.
        more = more & np.where(bits & 16, values != -1, values != 0)
        letters.append(bits + 32 * more + 48)
    chosen = np.stack(letters, 1)[np.stack(used, 1)]
    return chosen.astype(np.uint8).tobytes().decode()
