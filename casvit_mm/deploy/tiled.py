"""A model that reads large images by tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from casvit_mm.deploy.model import ImageModel, Prepared, in_batches
from casvit_mm.deploy.results import Detections, Result
from casvit_mm.deploy.seams import join_objects, move_objects
from casvit_mm.deploy.tiles import Place, Tiles
from casvit_mm.errors import InputError

__all__ = ['TiledModel', 'tiled']


@dataclass(frozen=True)
class _Large:
    """An image that is predicted by tiles; its pixels, BGR, uint8 ``(H, W, 3)``."""

    pixels: np.ndarray


class TiledModel(ImageModel):
    """A detector as a function of images of any size.

    Each tile goes through the model as an image of its own, with all that the model does to the
    size of an image. An image that is no larger than a tile is predicted as without tiles.

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
        if model.task == 'classification':
            raise InputError('--tile is not for classification: a class is one of the whole image')
        if model.task != 'detection':
            raise InputError(f'--tile is not for {model.task}')
        self.model, self.tiles = model, tiles
        self.task, self.classes, self.device = model.task, model.classes, model.device
        self.score_thr, self.note = model.score_thr, model.note

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
        places: list[Place] = []
        found: list[Detections] = []
        tiles = (
            self.model.prepare_image(_crop(pixels, place), tag=place)
            for place in self.tiles.places(*size)
        )
        for batch in in_batches(tiles, self.tiles.at_once):
            for tile, result in zip(batch, self.model.predict(batch), strict=True):
                assert isinstance(result, Detections)
                places.append(tile.tag)
                found.append(move_objects(result, tile.tag, size))
        joined = join_objects(found, places, size)
        return replace(joined, classes=self.classes, source=image.source)


def _crop(pixels: np.ndarray, place: Place) -> np.ndarray:
    top, left, height, width = place
    return pixels[top : top + height, left : left + width]


def tiled(model: ImageModel, tiles: Tiles | None) -> ImageModel:
    """Return a model that reads large images by tiles; the model itself if there are none.

    Raises:
        InputError: If the task has no tiles.
    """
    return model if tiles is None else TiledModel(model, tiles)
