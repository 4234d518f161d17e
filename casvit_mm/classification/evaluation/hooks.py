"""Pictures of every test image, drawn by the process that evaluates it."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.registry import HOOKS

from casvit_mm.classification.evaluation.drawing import draw_classified
from casvit_mm.datasets.images import read_image
from casvit_mm.datasets.picture_hooks import PicturesHook

__all__ = ['ClassificationPicturesHook']


@HOOKS.register_module()
class ClassificationPicturesHook(PicturesHook):
    """Draw every test image with its class and the most probable ones beside it."""

    def draw(self, sample: Any, meta: dict[str, Any], title: str) -> np.ndarray:
        scores = sample.pred_score.float().cpu().numpy()
        classes = meta.get('classes') or tuple(map(str, range(len(scores))))
        truth = int(sample.gt_label[0]) if 'gt_label' in sample else None
        return draw_classified(read_image(sample.img_path), scores, truth, classes, title)
