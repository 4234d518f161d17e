"""From mmpretrain's data samples to results."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.deploy.results import Classification

__all__ = ['read_sample', 'set_limits']


def set_limits(cfg: Config, score_thr: float | None, max_dets: int | None) -> None:
    """Do nothing: a classifier gives the probability of every class."""


def read_sample(sample: Any, classes: tuple[str, ...], size: tuple[int, int]) -> Classification:
    """Return what mmpretrain's DataSample says.

    Args:
        sample: With ``pred_score`` ``(C,)``.
        classes: All class names.
        size: Height and width of the image in pixels.
    """
    scores = sample.pred_score.cpu().numpy()
    order = np.argsort(-scores, kind='stable')
    names = tuple(classes[label] for label in order)
    return Classification(scores[order], order, names, classes=classes, size=size)
