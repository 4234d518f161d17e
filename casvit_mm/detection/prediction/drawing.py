"""Pictures of detections from their JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

from casvit_mm.deploy.drawing import draw_objects

__all__ = ['draw_detections']


def draw_detections(
    image: np.ndarray, objects: Sequence[dict[str, Any]], classes: Sequence[str]
) -> np.ndarray:
    """Draw objects onto a copy of an image, as :func:`casvit_mm.deploy.drawing.draw_objects`.

    Args:
        image: BGR pixels, uint8 ``(H, W, 3)``.
        objects: As :class:`casvit_mm.detection.prediction.predictor.Predictor` returns them.
        classes: All class names, which decide the colours.
    """
    boxes = np.array([found['bbox'] for found in objects], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([found['score'] for found in objects])
    segments = [found['segmentation'] for found in objects if 'segmentation' in found]
    masks = np.stack([rle.decode(one) for one in segments]).astype(bool) if segments else None
    names = [found['class'] for found in objects]
    return draw_objects(image, boxes, scores, names, masks, classes)
