"""A model that reads large images by tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from casvit_mm.deploy.label_maps import join_logits
from casvit_mm.deploy.model import ImageModel, Prepared, in_batches
from casvit_mm.deploy.results import Detections, Result, Segmentation
from casvit_mm.deploy.seams import join_objects, move_objects
from casvit_mm.deploy.tiles import Place, Tiles
from casvit_mm.deploy.windows import WindowedImage, open_windows
from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit

__all__ = ['TiledModel', 'check_task', 'tiled']


@dataclass(frozen=True)
class _Large:
    """An image that is predicted by tiles; its pixels, BGR, uint8 ``(H, W, 3)``."""

    pixels: np.ndarray | WindowedImage


class TiledModel(ImageModel):
    """A detector or segmentor as a function of images of any size.

    Each tile goes through the model as an image of its own, with all that the model does to the
    size of an image. An image that is no larger than a tile is predicted as without tiles. A TIFF
    with more pixels than may be read at once is read by windows.

    Args:
        model: What predicts.
        tiles: The tiles.

    Attributes:
        model: The same.
        max_dets: None: the model's limit holds for each tile.

    Raises:
        InputError: If the task has no tiles.
    """

    def __init__(self, model: ImageModel, tiles: Tiles) -> None:
        check_task(model.task)
        self.model, self.tiles = model, tiles
        self.task, self.classes, self.device = model.task, model.classes, model.device
        self.score_thr, self.note, self.recipe = model.score_thr, model.note, model.recipe

    def prepare_image(self, image: Any, tag: Any = None) -> Prepared:
        windows = open_windows(image)
        if windows is None:
            return super().prepare_image(image, tag)
        if self.tiles.side**2 > pixel_limit():
            raise InputError(
                f'--tile {self.tiles.side}: a tile may have {pixel_limit():,} pixels, as an image'
            )
        shape = (*windows.shape, self.tiles.side)  # no input of the network
        return Prepared(windows, shape, _Large(windows), Path(image), tag)

    def predict(self, batch: Sequence[Prepared]) -> list[Result]:
        if isinstance(batch[0].data, _Large):
            return [self._predict_large(one) for one in batch]
        return self.model.predict(batch)

    def _prepare_pixels(self, pixels: np.ndarray) -> tuple[Any, tuple[int, ...]]:
        if not self.tiles.cut(*pixels.shape[:2]):
            return self.model._prepare_pixels(pixels)
        return _Large(pixels), (*pixels.shape, self.tiles.side)  # no input of the network

    def _predict_large(self, image: Prepared) -> Result:
        pixels = image.data.pixels
        size = pixels.shape[:2]
        tiles = (
            self.model.prepare_image(_crop(pixels, place), tag=place)
            for place in self.tiles.places(*size)
        )
        batches = in_batches(tiles, self.tiles.at_once)
        joined = (self._objects if self.task == 'detection' else self._labels)(batches, size)
        return replace(joined, classes=self.classes, size=size, source=image.source)

    def _objects(self, batches: Iterator[list[Prepared]], size: tuple[int, int]) -> Detections:
        places: list[Place] = []
        found: list[Detections] = []
        for batch in batches:
            for tile, result in zip(batch, self.model.predict(batch), strict=True):
                assert isinstance(result, Detections)
                places.append(tile.tag)
                found.append(move_objects(result, tile.tag, size))
        return join_objects(found, places, size)

    def _labels(self, batches: Iterator[list[Prepared]], size: tuple[int, int]) -> Segmentation:
        logits = (maps for batch in batches for maps in self.model.logits(batch))
        thr = self.model.label_thr
        return Segmentation(join_logits(logits, self.tiles, size, len(self.classes), thr))


def _crop(pixels: np.ndarray | WindowedImage, place: Place) -> np.ndarray:
    top, left, height, width = place
    return pixels[top : top + height, left : left + width]


def check_task(task: str) -> None:
    """Refuse tiles for a task that has none.

    Raises:
        InputError: Saying why.
    """
    if task == 'classification':
        raise InputError('--tile is not for classification: a class is one of the whole image')
    if task not in ('detection', 'segmentation'):
        raise InputError(f'--tile is for detection and segmentation, not for a {task}')


def tiled(model: ImageModel, tiles: Tiles | None) -> ImageModel:
    """Return a model that reads large images by tiles; the model itself if there are none.

    Raises:
        InputError: If the task has no tiles.
    """
    return model if tiles is None else TiledModel(model, tiles)
