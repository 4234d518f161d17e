"""From mmseg's data samples to results."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.deploy.results import Segmentation
from casvit_mm.segmentation.prediction.segmentor import set_label_segmentor

__all__ = ['read_sample', 'set_limits']


def set_limits(cfg: Config, score_thr: float | None, max_dets: int | None) -> None:
    """Set none, since a segmentor gives every pixel a class; it finds the same labels sooner."""
    set_label_segmentor(cfg)


def read_sample(sample: Any, classes: tuple[str, ...], size: tuple[int, int]) -> Segmentation:
    """Return what mmseg's SegDataSample says.

    Args:
        sample: With ``pred_sem_seg`` ``(1, H', W')``, larger than the image where it was padded.
        classes: All class names.
        size: Height and width of the image in pixels.
    """
    height, width = size
    labels = sample.pred_sem_seg.data[0, :height, :width].cpu().numpy()
    kind = np.uint8 if len(classes) <= 256 else np.uint16
    return Segmentation(labels.astype(kind), classes=classes, size=size)
