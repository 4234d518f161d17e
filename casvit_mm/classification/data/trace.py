"""Follows an image through a classification pipeline, to tell how much of it is left."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from casvit_mm.datasets.pipeline_trace import PipelineTrace

__all__ = ['CropTrace']


class CropTrace(PipelineTrace):
    """Watches how much of an image is cropped away.

    Args:
        dataset: A dataset of mmpretrain, with or without wrappers; its pipelines are changed in
            place.

    Attributes:
        share: Part of the area of the last image that its input shows, 0 to 1.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, dict(type='PackInputs', meta_keys=('img_path',)))

    def reset(self) -> None:
        super().reset()
        self.share = 1.0

    def run(self, step: Callable[[dict], dict | None], results: dict) -> dict | None:
        before = _area(results)
        kept = _drawn_area(step, results)
        after = step(results)
        if kept is None and 'Crop' in type(step).__name__ and after is not None:
            kept = _area(after)
        if kept is not None:
            self.share *= min(1.0, kept / before)
        return after


def _area(results: dict) -> float:
    return float(np.prod(np.shape(results['img'])[:2])) if 'img' in results else 1.0


def _drawn_area(step: Any, results: dict) -> float | None:
    """Return the area that a step will cut out before it resizes; None of any other step."""
    if type(step).__name__ == 'EfficientNetCenterCrop':
        part = step.crop_size / (step.crop_size + step.crop_padding)
        return float((part * min(results['img'].shape[:2])) ** 2)
    draw = getattr(step, 'rand_crop_params', None)  # a crop of random size
    if draw is None:
        return None
    states = random.getstate(), np.random.get_state()
    _, _, height, width = draw(results['img'])
    random.setstate(states[0])
    np.random.set_state(states[1])
    return float(height * width)
