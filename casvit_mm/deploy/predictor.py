"""An exported model as a function of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from casvit_mm.deploy.engines import Engine, open_engine
from casvit_mm.deploy.images import Resized, enlarge_canvas, resize
from casvit_mm.deploy.model import ImageModel, Prepared, read_pixels
from casvit_mm.deploy.outputs import read_logits, read_outputs
from casvit_mm.deploy.results import Features, Result
from casvit_mm.deploy.spec import Spec
from casvit_mm.deploy.tiled import tiled
from casvit_mm.deploy.tiles import read_tiles
from casvit_mm.errors import InputError

__all__ = ['Predictor', 'constant_size', 'load', 'prepare_tensor', 'size_steps']


class Predictor(ImageModel):
    """An exported model with its engine and all that its file says of itself.

    Args:
        engine: The loaded file.
        score_thr: Minimum score of a detection, not below the one that the model was exported
            with; None takes that one.

    Attributes:
        engine: The loaded file; ``engine.run`` gives the raw outputs.
        spec: Task, classes, sizes and thresholds.
    """

    def __init__(self, engine: Engine, score_thr: float | None = None) -> None:
        self.engine = engine
        self.spec = engine.spec
        if score_thr is not None:
            if not self.spec.score_thr <= score_thr <= 1:
                raise InputError(
                    f'score_thr must be from {self.spec.score_thr:g}, which the model was exported '
                    f'with, to 1, got {score_thr}'
                )
            self.spec = replace(self.spec, score_thr=score_thr)
        self.task, self.classes = self.spec.task, self.spec.classes
        self.device, self.label_thr = engine.device, self.spec.label_thr
        if self.task == 'detection':
            self.score_thr = self.spec.score_thr

    def predict(self, batch: Sequence[Prepared]) -> list[Result]:
        if self.spec.size and len(batch) > 1:  # the file takes one at a time
            return [result for one in batch for result in self.predict([one])]
        tensors = [prepare_tensor(one.data.pixels, self.spec) for one in batch]
        outputs = self.run(np.concatenate(tensors))
        return [
            self._result({name: values[i : i + 1] for name, values in outputs.items()}, one)
            for i, one in enumerate(batch)
        ]

    def logits(self, batch: Sequence[Prepared]) -> list[np.ndarray]:
        if self.task != 'segmentation':
            return super().logits(batch)
        if self.spec.size and len(batch) > 1:
            return [maps for one in batch for maps in self.logits([one])]
        outputs = self.run(
            np.concatenate([prepare_tensor(p.data.pixels, self.spec) for p in batch])
        )
        return [
            read_logits(
                {name: values[i : i + 1] for name, values in outputs.items()}, self.spec, one.data
            )
            for i, one in enumerate(batch)
        ]

    def _result(self, outputs: dict[str, np.ndarray], image: Prepared) -> Result:
        result = read_outputs(outputs, self.spec, image.data)
        if isinstance(result, Features):
            return result
        size = image.data.original_size
        return replace(result, classes=self.classes, size=size, source=image.source)

    def _prepare_pixels(self, pixels: np.ndarray) -> tuple[Resized, tuple[int, ...]]:
        resized = self.prepare(pixels)
        return resized, resized.pixels.shape

    def prepare(self, image: np.ndarray | str | Path) -> Resized:
        """Read an image and resize it to the network's input."""
        colour = fill_colour(self.spec)
        resized = resize(read_pixels(image), size_steps(self.spec), colour)
        return enlarge_canvas(resized, self.spec.least, colour)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the raw outputs for an input ``(B, 3, H, W)``, see docs/howto/export.md.

        Raises:
            InputError: If the shape is not one that the export takes.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise InputError(f'the input must have the shape (B, 3, H, W), got {image.shape}')
        if self.spec.size and (len(image), *image.shape[2:]) != (1, *self.spec.size):
            height, width = self.spec.size
            raise InputError(
                f'this export is fixed to 1 image of {width}x{height}; got {len(image)} of '
                f'{image.shape[3]}x{image.shape[2]}. Resize the image, or export again without '
                '--size, or with another one'
            )
        if min(image.shape[2:]) < self.spec.least:
            raise InputError(
                f'this export takes sides of {self.spec.least} px or more, got '
                f'{image.shape[3]}x{image.shape[2]}. Pad the image below or on the right'
            )
        return self.engine.run(image)


@overload
def load(
    path: str | Path,
    *,
    score_thr: float | None = ...,
    device: str | None = ...,
    threads: int | None = ...,
    trusted: bool = ...,
) -> Predictor: ...
@overload
def load(
    path: str | Path,
    *,
    score_thr: float | None = ...,
    device: str | None = ...,
    threads: int | None = ...,
    trusted: bool = ...,
    tile: int | None,
    overlap: float | None = ...,
) -> ImageModel: ...
def load(
    path: str | Path,
    *,
    score_thr: float | None = None,
    device: str | None = None,
    threads: int | None = None,
    trusted: bool = False,
    tile: int | None = None,
    overlap: float | None = None,
) -> ImageModel:
    """Load a file that ``casvit-mm export`` wrote.

    Args:
        path: ``.onnx``, ``.xml`` (with its ``.bin`` beside it) or ``.pt2``.
        score_thr: Minimum score of a detection; None takes that of the export.
        device: ``'cpu'`` or ``'cuda'``; None lets onnxruntime take a GPU where it can use one.
        threads: CPU threads of the engine; None leaves their number to the engine.
        trusted: Whether code in the file may run. Only ``.pt2`` can hold any: torch reads it by
            pickle and eval.
        tile: Side in pixels of the tiles by which larger images are read; None reads them whole.
        overlap: Share of a tile that neighbours have in common; 0.2 if None.

    Raises:
        InputError: If the file is missing, damaged or not ours, its engine is not installed,
            ``score_thr`` is below the one it was exported with, it does not run on ``device``, a
            ``.pt2`` is not trusted, or tiles are out of range or not for its task.
    """
    tiles = read_tiles(tile, overlap)
    engine = open_engine(path, threads, trusted=trusted, device=device)
    return tiled(Predictor(engine, score_thr), tiles)


def constant_size(spec: Spec) -> tuple[int, int] | None:
    """Return height and width that the pipeline gives every image; None where they differ."""
    last = spec.steps[-1] if spec.steps else {}
    if last.get('op') in ('stretch', 'center_crop', 'pad'):
        return last['size'][0], last['size'][1]
    return None


def size_steps(spec: Spec) -> Sequence[dict[str, Any]]:
    """Return the steps that resize an image to the input.

    A fixed size replaces a pipeline under which the size would follow from the image.
    """
    if spec.size and constant_size(spec) != spec.size:
        return [dict(op='letterbox', size=spec.size, interpolation='bilinear')]
    return spec.steps


def fill_colour(spec: Spec) -> list[int]:
    """Return the BGR colour of padding: the mean, which is about zero once it is normalised."""
    colour = [round(value) for value in spec.mean]
    return colour[::-1] if spec.rgb else colour


def prepare_tensor(pixels: np.ndarray, spec: Spec) -> np.ndarray:
    """Return the input ``(1, 3, H, W)`` that a file takes for BGR pixels ``(H, W, 3)``."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    if spec.preprocess == 'inside':
        return planes
    if spec.rgb:
        planes = planes[:, ::-1]
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (spec.mean, spec.std))
    return np.ascontiguousarray((planes.astype(np.float32) - mean) / std)
