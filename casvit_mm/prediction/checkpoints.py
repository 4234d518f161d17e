"""A checkpoint of any task as a function of images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config

from casvit_mm.config.building import (
    build_model,
    check_device,
    memory_for,
    read_model_config,
)
from casvit_mm.config.editing import innermost_dataset
from casvit_mm.config.forms import type_name
from casvit_mm.config.type_checks import explaining_build_errors
from casvit_mm.deploy.model import ImageModel, Prepared
from casvit_mm.deploy.results import Result
from casvit_mm.errors import InputError
from casvit_mm.io import pixel_limit
from casvit_mm.prediction.tasks import prediction_of
from casvit_mm.task import task_name

__all__ = ['CheckpointModel']


class CheckpointModel(ImageModel):
    """A model with its classes and the test pipeline of its config.

    The dataset and the pretrained weights that the config names need not exist. The number of
    classes in the heads follows from the names in the checkpoint. Pipeline, model and weights are
    those that ``casvit-mm test`` evaluates.

    Args:
        checkpoint: File of weights of a whole model; read without executing anything in it.
        config: Config file, also the copy in a work dir, or one that is read already; None takes
            the config that the checkpoint holds.
        score_thr: Minimum score of a detection; replaces the one of the config's ``test_cfg``,
            which None keeps.
        max_dets: Raises the maximum of objects per image, where the config has a lower one.
        device: Such as ``'cpu'`` or ``'cuda:1'``; None takes a GPU where there is one.
        cfg_options: Config entries to set, by dotted name.

    Attributes:
        config: The config file; None where the checkpoint's own is used.

    Raises:
        InputError: If the config or checkpoint is missing, they do not fit each other, class names
            are unknown, or the device is not there.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: str | Path | Config | None = None,
        *,
        score_thr: float | None = 0.3,
        max_dets: int | None = None,
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
    ) -> None:
        if score_thr is not None and not 0 <= score_thr <= 1:
            raise InputError(f'--score-thr must be from 0 to 1, got {score_thr}')
        self._device = torch.device(check_device(device))
        self.device, self.config = str(self._device), config
        cfg = _read_config(checkpoint, config, cfg_options)
        self.task = task_name(cfg)
        self._task = prediction_of(self.task)
        if self.task == 'detection':
            self.score_thr = score_thr
        self._task.set_limits(cfg, self.score_thr, max_dets)
        with memory_for(config, checkpoint):
            built = build_model(cfg, checkpoint)
        test_cfg = cfg.model.get('test_cfg') or {}
        limits = test_cfg.get('rcnn', test_cfg)
        self.max_dets = limits.get('max_per_img', limits.get('max_per_image'))
        self.classes, self.note = built.classes, built.note
        self._model: Any = built.model.to(self._device)
        if self.task == 'segmentation' and getattr(self._model, 'out_channels', 0) == 1:
            self.label_thr = self._model.decode_head.threshold
        self._pipeline = _build_pipeline(cfg)
        self.recipe = json.dumps(cfg.to_dict(), default=lambda value: type(value).__name__)

    @torch.no_grad()
    def predict(self, batch: Sequence[Prepared]) -> list[Result]:
        samples = self._model.test_step(_joined(batch))
        return [self._result(sample, one) for sample, one in zip(samples, batch, strict=True)]

    @torch.no_grad()
    def logits(self, batch: Sequence[Prepared]) -> list[np.ndarray]:
        if not hasattr(self._model, 'class_logits'):
            raise InputError(
                f'--tile is for segmentors of type EncoderDecoder, whose logits it averages; this '
                f'is a {type(self._model).__name__}'
            )
        maps = self._model.class_logits(**self._model.data_preprocessor(_joined(batch), False))
        # A thin image was widened.
        sizes = [one.pixels.shape[:2] for one in batch]
        return [
            values[:, :height, :width].float().cpu().numpy()
            for values, (height, width) in zip(maps, sizes, strict=True)
        ]

    def _result(self, sample: Any, image: Prepared) -> Result:
        height, width = image.pixels.shape[:2]
        result = self._task.read_sample(sample, self.classes, (height, width))
        return replace(result, source=image.source)

    def _prepare_pixels(self, pixels: np.ndarray) -> tuple[dict[str, Any], tuple[int, ...]]:
        data = self._pipeline(pixels)
        return data, tuple(data['inputs'].shape)


def _joined(batch: Sequence[Prepared]) -> dict[str, Any]:
    """Return what ``test_step`` takes."""
    return {key: [one.data[key] for one in batch] for key in ('inputs', 'data_samples')}


def _read_config(
    checkpoint: str | Path, config: str | Path | Config | None, cfg_options: dict[str, Any] | None
) -> Config:
    """Return the config that is named, or the one that the checkpoint holds.

    Raises:
        InputError: If it cannot be read, or has no pipeline of images.
    """
    if isinstance(config, Config):
        cfg = config  # of an evaluation, which has checked it
    else:
        cfg = read_model_config(config, cfg_options, checkpoint)
    if 'test_dataloader' not in cfg:
        raise InputError(
            f'{cfg.filename} has no test_dataloader, whose pipeline prediction follows'
        )
    return cfg


class _Pipeline:
    """The test pipeline of a config, for pixels instead of files.

    Args:
        steps: All after the one that loads the image.
        as_float: Whether that one turns pixels into float32.
        long_side: The longer side of the size that the pipeline fits images into; None if none.
        short_edge: The short side that it scales every image to; None if none.
    """

    def __init__(
        self, steps: Compose, as_float: bool, long_side: int | None, short_edge: int | None
    ) -> None:
        self._steps, self._as_float = steps, as_float
        self._long_side, self._short_edge = long_side, short_edge

    def __call__(self, pixels: np.ndarray) -> dict[str, Any]:
        """Return ``inputs`` ``(3, h, w)`` and ``data_samples`` for BGR pixels ``(H, W, 3)``.

        Raises:
            InputError: If the image is so thin that it would be enlarged beyond the limit of
                pixels.
        """
        pixels = self._thick_enough(pixels)
        size = pixels.shape[:2]
        values = pixels.astype(np.float32) if self._as_float else pixels
        # What the frameworks' LoadImageFromFile leaves.
        return self._steps(dict(img=values, img_shape=size, ori_shape=size, img_id=0))

    def _thick_enough(self, pixels: np.ndarray) -> np.ndarray:
        """Return a very thin image widened below or right, by its last row or column."""
        height, width = pixels.shape[:2]
        if self._short_edge is not None:
            longer = self._short_edge * max(height, width) // min(height, width)
            if longer * self._short_edge > pixel_limit():
                raise InputError(
                    f'an image of {width} x {height} pixels would be enlarged to a longer side of '
                    f'{longer:,}. Cut off what is not needed'
                )
        if self._long_side is not None:
            # The pipeline would round the short side to 0 pixels.
            least = int(0.5 * max(height, width) / self._long_side) + 1
            below, right = max(0, least - height), max(0, least - width)
            if below or right:
                return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode='edge')
        return pixels


def _build_pipeline(cfg: Config) -> _Pipeline:
    """Return the test pipeline of a config; steps that read labels are left out.

    Raises:
        InputError: If it loads images otherwise than :func:`casvit_mm.deploy.read_image`.
    """
    loader, *rest = innermost_dataset(cfg.test_dataloader).pipeline
    if type_name(loader) != 'LoadImageFromFile' or loader.get('color_type', 'color') != 'color':
        raise InputError(
            f'{cfg.filename}: the test pipeline starts with {dict(loader)}; prediction reads '
            "images itself and replaces LoadImageFromFile with color_type='color' only"
        )
    steps = [step for step in rest if type_name(step) != 'LoadAnnotations']
    scales = [step.scale for step in steps if isinstance(step.get('scale'), (list, tuple))]
    edges = [step.scale for step in steps if type_name(step) == 'ResizeEdge']
    with explaining_build_errors(cfg):
        built = Compose(steps)
    return _Pipeline(
        built,
        bool(loader.get('to_float32', False)),
        max(scales[0]) if scales else None,
        edges[0] if edges else None,
    )
