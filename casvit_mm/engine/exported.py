"""Evaluate what reads images itself, by a config's data and metric: exported files, and tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor, nn

from casvit_mm.config.editing import config_classes
from casvit_mm.deploy import Classification, Detections, ImageModel, Segmentation, Spec, load
from casvit_mm.deploy.masks import CroppedMasks, encode_crop
from casvit_mm.deploy.tiled import tiled
from casvit_mm.deploy.tiles import Tiles, read_tiles
from casvit_mm.errors import InputError, first_names
from casvit_mm.prediction.checkpoints import CheckpointModel
from casvit_mm.task import task_name

__all__ = [
    'ExportedModel',
    'TiledCheckpoint',
    'check_classes',
    'exported_model',
    'read_spec',
    'tiled_checkpoint',
]


@MODELS.register_module()
class ExportedModel(BaseModel):
    """A file of ``casvit-mm export``, evaluated in place of the model that it was exported from.

    It reads each image itself, by :mod:`casvit_mm.deploy`, as it will where it is deployed.

    Args:
        path: ``.onnx`` or ``.xml``.
        tile: Side of the tiles by which larger images are read; None reads them whole.
        overlap: Share of a tile that neighbours have in common.

    Raises:
        InputError: If the file cannot be loaded.
    """

    def __init__(self, path: str, tile: int | None = None, overlap: float | None = None) -> None:
        super().__init__()
        self._predictor = self._load(path, read_tiles(tile, overlap))
        # MMEngine wraps the model of several processes, which wants a parameter.
        self.unused = nn.Parameter(torch.zeros(()))

    def _load(self, path: str, tiles: Tiles | None) -> ImageModel:
        return tiled(load(path), tiles)

    def test_step(self, data: dict[str, Any]) -> list[BaseDataElement]:
        """Return the data samples of a batch with what the file predicts for their images."""
        samples = data['data_samples']
        for sample in samples:
            _put_result(sample, self._predictor(sample.img_path))
        return samples

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> None:
        """Refuse: nothing of the file can be trained or called by tensors."""
        raise NotImplementedError('an exported file predicts by test_step only')


@MODELS.register_module()
class TiledCheckpoint(ExportedModel):
    """A checkpoint that reads each image itself, by tiles, as :func:`casvit_mm.load` does.

    Args:
        path: Weights of a whole model.
        config: The config, as a dictionary.
        tile: Side of the tiles.
        overlap: Share of a tile that neighbours have in common.
    """

    def __init__(
        self, path: str, config: dict[str, Any], tile: int, overlap: float | None = None
    ) -> None:
        self._config = Config(config)
        super().__init__(path, tile, overlap)

    def _load(self, path: str, tiles: Tiles | None) -> ImageModel:
        return tiled(CheckpointModel(path, self._config, score_thr=None), tiles)


def _put_result(sample: Any, result: Any) -> None:
    """Put a result into a data sample as the mm packages do."""
    if isinstance(result, Detections):
        fields = dict(bboxes=result.boxes, scores=result.scores, labels=result.labels)
        sample.pred_instances = InstanceData(
            **{name: torch.from_numpy(values) for name, values in fields.items()}
        )
        if isinstance(result.masks, CroppedMasks):  # mmdet's metric takes RLE as well
            crops = result.masks.crops
            sample.pred_instances.masks = [encode_crop(crop, result.size) for crop in crops]
        elif result.masks is not None:
            sample.pred_instances.masks = torch.from_numpy(result.masks)
    elif isinstance(result, Segmentation):
        labels = torch.from_numpy(result.labels.astype(np.int64))
        sample.pred_sem_seg = PixelData(data=labels[None])
    else:
        assert isinstance(result, Classification)
        scores = np.empty_like(result.scores)
        scores[result.labels] = result.scores
        sample.set_pred_score(torch.from_numpy(scores)).set_pred_label(int(result.labels[0]))


def read_spec(path: str, cfg: Config) -> Spec:
    """Return what an exported file says of itself, after checking that it can be evaluated so.

    Raises:
        InputError: If the file cannot be loaded or is of another task than the config.
    """
    spec = load(path).spec
    task = task_name(cfg)
    if spec.task != task:
        raise InputError(
            f'{path} is for {spec.task}, and {cfg.filename} for {task}. Give the config that the '
            'file was exported from; a backbone alone has nothing to evaluate'
        )
    return spec


def check_classes(path: str, spec: Spec, cfg: Config) -> None:
    """Refuse test data whose classes are not those of the file.

    Raises:
        InputError: Naming both.
    """
    classes = config_classes(cfg, path)
    if classes != spec.classes:
        known, found = (first_names(names, 5) for names in (spec.classes, classes))
        raise InputError(
            f'{path} knows {len(spec.classes)} classes ({known}), the test data of '
            f'{cfg.filename} has {len(classes)} ({found}). Give the data that the model was '
            'trained on: --data dataset.yaml'
        )


def exported_model(path: str, tiles: Tiles | None) -> dict[str, Any]:
    """Return the config of an :class:`ExportedModel`."""
    return dict(type='ExportedModel', path=str(Path(path).resolve()), **_as_options(tiles))


def tiled_checkpoint(path: str, cfg: Config, tiles: Tiles) -> dict[str, Any]:
    """Return the config of a :class:`TiledCheckpoint`, for the model and pipeline of a config."""
    return dict(type='TiledCheckpoint', path=path, config=cfg.to_dict(), **_as_options(tiles))


def _as_options(tiles: Tiles | None) -> dict[str, Any]:
    return {} if tiles is None else dict(tile=tiles.side, overlap=tiles.overlap)
