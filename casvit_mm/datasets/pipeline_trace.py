"""Watches a sample on its way through the pipelines of a dataset, of any task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS

from casvit_mm.errors import InputError

__all__ = ['PipelineTrace', 'nested']


class PipelineTrace:
    """Watches every step of a dataset's pipelines, from loading to packing.

    A task adds what it measures by :meth:`run`.

    Args:
        dataset: A dataset of mmdet, mmseg or mmpretrain, with or without wrappers; its pipelines
            are changed in place.
        pack: Config of the transform that packs a sample, of the scope that is the default.

    Attributes:
        loaded: The images that went into the last sample, packed as loaded, in order.

    Raises:
        InputError: While a sample is made, if the pipeline reads no image file.
    """

    def __init__(self, dataset: Any, pack: Mapping[str, Any]) -> None:
        self._pack = TRANSFORMS.build(dict(pack))
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

    def run(self, step: Callable[[dict], dict | None], results: dict) -> dict | None:
        """Return what a step makes of ``results``; called for every step after loading."""
        return step(results)

    def _note_loaded(self, results: dict) -> dict:
        packed = self._pack(dict(results))
        if 'inputs' not in packed:
            raise InputError(
                f'no step like LoadImageFromFile of the pipeline reads {results["img_path"]}: the '
                'config is for images that its own dataset holds. Take another config, or add '
                'the step'
            )
        packed['inputs'] = packed['inputs'].clone()  # later steps may write into the image
        self.loaded.append(packed)
        return results


class _Watched:
    """A transform that runs under the eyes of a trace."""

    def __init__(self, step: Callable[[dict], dict | None], trace: PipelineTrace) -> None:
        self._step = step
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)  # Mosaic and its kind are asked for get_indexes

    def __call__(self, results: dict) -> dict | None:
        return self._trace.run(self._step, results)


def nested(dataset: Any) -> Iterator[Any]:
    """Yield a dataset and all that it wraps."""
    yield dataset
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for child in inner:
        if child is not None:
            yield from nested(child)
