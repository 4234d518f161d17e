"""Pictures of every test image, drawn by the process that evaluates it."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.registry import HOOKS

from casvit_mm.datasets.picture_hooks import PicturesHook
from casvit_mm.segmentation.evaluation.pictures import draw_sample

__all__ = ['SegmentationPicturesHook']


@HOOKS.register_module()
class SegmentationPicturesHook(PicturesHook):
    """Draw image, truth and prediction of every test image, each rank those that it evaluates.

    Args:
        out_dir: As of :class:`casvit_mm.datasets.picture_hooks.PicturesHook`.
        root: Likewise.
        ignore_index: Label of the pixels that are not evaluated.
    """

    def __init__(self, out_dir: str, root: str | None = None, ignore_index: int = 255) -> None:
        super().__init__(out_dir, root)
        self.ignore_index = ignore_index

    def draw(self, sample: Any, meta: dict[str, Any], title: str) -> np.ndarray:
        return draw_sample(sample, meta, title, self.ignore_index)
