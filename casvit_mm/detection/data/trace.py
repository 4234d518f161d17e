"""Follows the objects of a sample through a detection pipeline, to tell where they are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose

__all__ = ['TINY', 'Trace', 'boxes_of', 'nested']

TINY = 2  # px, below which a box can hardly be learnt; the finest stride of our detectors is 4


class Trace:
    """Watches every step of a dataset's pipelines, from loading to packing.

    Args:
        dataset: A dataset of mmdet, with or without wrappers; its pipelines are changed in place.

    Attributes:
        loaded: The images that went into the last sample, packed as loaded, in order.
        dropped: Objects that it lost, by transform.
        tiny: Its boxes below :data:`TINY` in width or height after resizing.
    """

    def __init__(self, dataset: Any) -> None:
        self._pack = TRANSFORMS.build(dict(type='PackDetInputs', meta_keys=('img_path',)))
        self.reset()
        for node in nested(dataset):
            if isinstance(pipeline := getattr(node, 'pipeline', None), Compose):
                steps = pipeline.transforms
                loaders = [step for step in steps if type(step).__name__.startswith('Load')]
                others = [_Watched(step, self) for step in steps if step not in loaders]
                # Loaders first: test pipelines load annotations last, so that they stay in pixels
                # of the original. Here they must follow the image.
                pipeline.transforms = [*loaders, self._note_loaded, *others]
            elif pipeline is not None:  # of MultiImageMixDataset
                node.pipeline = [_Watched(step, self) for step in pipeline]

    def reset(self) -> None:
        """Forget the last sample."""
        self.loaded: list[dict] = []
        self.dropped: Counter[str] = Counter()
        self.tiny = 0

    def _note_loaded(self, results: dict) -> dict:
        packed = self._pack(dict(results))
        packed['inputs'] = packed['inputs'].clone()  # later steps may write into the image
        self.loaded.append(packed)
        return results


class _Watched:
    """A transform that tells a trace how many objects it dropped."""

    def __init__(self, step: Callable[[dict], dict | None], trace: Trace) -> None:
        self._step = step
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)  # Mosaic and its kind are asked for get_indexes

    def __call__(self, results: dict) -> dict | None:
        name = type(self._step).__name__
        before = sum(len(boxes_of(part)) for part in (results, *results.get('mix_results', ())))
        after = self._step(results)
        boxes = boxes_of(after)
        self._trace.dropped[name] += max(0, before - len(boxes))
        if (
            'Resize' in name or 'Mosaic' in name
        ):  # a crop leaves slivers, which is no reason to warn
            sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
            self._trace.tiny += int((sides < TINY).sum())
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


def nested(dataset: Any) -> Iterator[Any]:
    """Yield a dataset and all that it wraps."""
    yield dataset
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for child in inner:
        if child is not None:
            yield from nested(child)
