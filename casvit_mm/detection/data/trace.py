"""Follows the objects of a sample through a detection pipeline, to tell where they are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from casvit_mm.datasets.pipeline_trace import PipelineTrace

__all__ = ['TINY', 'Trace', 'boxes_of']

TINY = 2  # px, below which a box can hardly be learnt; the finest stride of our detectors is 4


class Trace(PipelineTrace):
    """Watches what becomes of the objects of a sample.

    Args:
        dataset: A dataset of mmdet, with or without wrappers; its pipelines are changed in place.

    Attributes:
        dropped: Objects that the last sample lost, by transform.
        tiny: Its boxes below :data:`TINY` in width or height after resizing.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, dict(type='PackDetInputs', meta_keys=('img_path',)))

    def reset(self) -> None:
        super().reset()
        self.dropped: Counter[str] = Counter()
        self.tiny = 0

    def run(self, step: Callable[[dict], dict | None], results: dict) -> dict | None:
        name = type(step).__name__
        before = sum(len(boxes_of(part)) for part in (results, *results.get('mix_results', ())))
        after = step(results)
        boxes = boxes_of(after)
        self.dropped[name] += max(0, before - len(boxes))
        if (
            'Resize' in name or 'Mosaic' in name
        ):  # a crop leaves slivers, which is no reason to warn
            sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
            self.tiny += int((sides < TINY).sum())
        return after


def boxes_of(results: dict | None) -> np.ndarray:
    """Return the boxes of the objects to learn, (N, 4), from any point of a pipeline."""
    if results is None:
        return np.zeros((0, 4))
    if 'data_samples' in results:
        boxes = results['data_samples'].gt_instances.get('bboxes', np.zeros((0, 4)))
        return np.asarray(getattr(boxes, 'tensor', boxes))
    if 'gt_bboxes' not in results:
        return np.zeros((0, 4))
    boxes = np.asarray(getattr(results['gt_bboxes'], 'tensor', results['gt_bboxes']))
    return boxes[np.asarray(results['gt_ignore_flags']) == 0]
