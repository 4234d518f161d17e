"""Intersection over union of boxes and masks, as COCO computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

__all__ = ['coco_iou']


def coco_iou(
    first: Sequence[Any] | np.ndarray,
    second: Sequence[Any] | np.ndarray,
    iscrowd: Sequence[bool] | None = None,
) -> np.ndarray:
    """Return the IoU of every pair.

    Args:
        first: N boxes as x, y, width and height, float64 ``(N, 4)``, or N masks as COCO RLE.
        second: M boxes or masks likewise.
        iscrowd: Which of ``second`` are crowds; None: none. With a crowd the IoU is the share of
            the first object that lies inside the crowd.

    Returns:
        float64 ``(N, M)``.
    """
    if len(first) == 0 or len(second) == 0:
        return np.zeros((len(first), len(second)))
    return mask_utils.iou(first, second, [int(crowd) for crowd in iscrowd or [False] * len(second)])
