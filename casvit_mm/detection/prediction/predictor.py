"""A trained detector as a function of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmengine.config import Config

from casvit_mm.config.building import build_model, check_device, read_model_config
from casvit_mm.config.checks import check_is_detector
from casvit_mm.config.class_counts import raise_max_dets
from casvit_mm.config.editing import innermost_dataset
from casvit_mm.config.forms import type_name
from casvit_mm.config.type_checks import explaining_build_errors
from casvit_mm.errors import InputError

__all__ = ['Predictor']

Tag = TypeVar('Tag')


class Predictor:
    """A detector with its classes and its config's test pipeline.

    The dataset and the pretrained weights that the config names need not exist. The number of
    classes in the heads follows from the names in the checkpoint.

    Args:
        config: Config file, also the copy in a work dir.
        checkpoint: File of weights of a whole detector; read without executing anything in it.
        score_thr: Minimum score of an object; replaces ``score_thr`` of the config's ``test_cfg``.
        max_dets: Raises the maximum of objects per image, where the config has a lower one.
        device: Such as ``'cpu'`` or ``'cuda:1'``; None takes a GPU where there is one.
        cfg_options: Config entries to set, by dotted name.

    Attributes:
        classes: Class names in the order of the model's outputs.
        device: Where the model is.
        max_dets: Maximum of objects per image; None if there is none.
        note: What the user should know about the checkpoint; empty if there is nothing.

    Raises:
        InputError: If the config or checkpoint is missing, they do not fit each other, class names
            are unknown, or the device is not there.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path,
        *,
        score_thr: float = 0.3,
        max_dets: int | None = None,
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
    ) -> None:
        if not 0 <= score_thr <= 1:
            raise InputError(f'--score-thr must be from 0 to 1, got {score_thr}')
        self.device = torch.device(check_device(device))
        self.score_thr = score_thr
        cfg = _load_config(config, cfg_options)
        if max_dets is not None:
            raise_max_dets(cfg, max_dets)
        test_cfg = cfg.model.get('test_cfg') or {}
        _set_score_thr(test_cfg, score_thr)
        built = build_model(cfg, checkpoint)
        limits = test_cfg.get('rcnn', test_cfg)
        self.max_dets = limits.get('max_per_img', limits.get('max_per_image'))
        self.classes, self.note = built.classes, built.note
        self._model = built.model.to(self.device)
        self._pipeline, self._long_side = _build_pipeline(cfg)

    def __call__(self, image: np.ndarray) -> list[dict[str, Any]]:
        """Return the objects in one image.

        Args:
            image: BGR pixels, uint8 ``(H, W, 3)``; :func:`casvit_mm.datasets.images.read_image`
                gives them.

        Returns:
            Objects by falling score, each with ``class``; ``score``; ``bbox``, which is x, y, width
            and height in pixels of ``image``; and, from a model with masks, ``segmentation``, the
            mask as COCO RLE.
        """
        return next(self.stream([(None, image)]))[2]

    @torch.no_grad()
    def stream(
        self, images: Iterable[tuple[Tag, np.ndarray]], batch_size: int = 1
    ) -> Iterator[tuple[Tag, np.ndarray, list[dict[str, Any]]]]:
        """Yield every tag and image with its objects, in the order they come in.

        Neighbours are batched where the pipeline gives them the same shape. No image is padded to
        another's size, so the result does not depend on ``batch_size``.

        Args:
            images: Any tag, and BGR pixels, uint8 ``(H, W, 3)``.
            batch_size: Images that go through the model at once.
        """
        waiting: list[tuple[Tag, np.ndarray, dict[str, Any]]] = []
        for tag, image in images:
            data = self._prepare(image)
            other_shape = waiting and waiting[0][2]['inputs'].shape != data['inputs'].shape
            if other_shape or len(waiting) == batch_size:
                yield from self._detect(waiting)
                waiting = []
            waiting.append((tag, image, data))
        if waiting:
            yield from self._detect(waiting)

    def _prepare(self, image: np.ndarray) -> dict[str, Any]:
        """Return the pipeline's ``inputs`` ``(3, h, w)`` and ``data_samples``."""
        height, width = image.shape[:2]
        if self._long_side is not None:
            # The pipeline would round the short side of a very thin image to 0 pixels.
            min_side = int(0.5 * max(height, width) / self._long_side) + 1
            below, right = max(0, min_side - height), max(0, min_side - width)
            if below or right:
                image = np.pad(image, ((0, below), (0, right), (0, 0)), mode='edge')
        return self._pipeline(dict(img=image, img_id=0))

    def _detect(
        self, batch: list[tuple[Tag, np.ndarray, dict[str, Any]]]
    ) -> Iterator[tuple[Tag, np.ndarray, list[dict[str, Any]]]]:
        samples = self._model.test_step(
            dict(
                inputs=[data['inputs'] for *_, data in batch],
                data_samples=[data['data_samples'] for *_, data in batch],
            )
        )
        for (tag, image, _), sample in zip(batch, samples, strict=True):
            yield tag, image, self._objects(sample, *image.shape[:2])

    def _objects(self, sample: DetDataSample, height: int, width: int) -> list[dict[str, Any]]:
        found = sample.pred_instances
        found = found[found.scores >= self.score_thr].cpu()
        found = found[found.scores.argsort(descending=True, stable=True)]
        boxes = found.bboxes.double().numpy()
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        objects: list[dict[str, Any]] = [
            {
                'class': self.classes[label],
                'score': round(score, 5),
                'bbox': [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            }
            for label, score, (x1, y1, x2, y2) in zip(
                found.labels.tolist(), found.scores.tolist(), boxes.tolist(), strict=True
            )
        ]
        if 'masks' in found:
            masks = encode_mask_results(found.masks[:, :height, :width].numpy())
            for entry, mask in zip(objects, masks, strict=True):
                entry['segmentation'] = dict(size=mask['size'], counts=mask['counts'].decode())
        return objects


def _load_config(path: str | Path, cfg_options: dict[str, Any] | None) -> Config:
    cfg = read_model_config(path, cfg_options)
    check_is_detector(cfg)
    if 'test_dataloader' not in cfg:
        raise InputError(f'{path} has no test_dataloader, whose pipeline prediction follows')
    return cfg


def _set_score_thr(node: dict[str, Any], score_thr: float) -> None:
    """Set the threshold in every stage of a ``test_cfg`` that has one."""
    for key, value in node.items():
        if key == 'score_thr':
            node[key] = score_thr
        elif isinstance(value, dict):
            _set_score_thr(value, score_thr)


def _build_pipeline(cfg: Config) -> tuple[Compose, int | None]:
    """Return the test pipeline for pixels instead of files, and the long side it scales to."""
    pipeline = innermost_dataset(cfg.test_dataloader).pipeline
    loader = pipeline[0]
    from_file = type_name(loader) == 'LoadImageFromFile'
    if not from_file or loader.get('color_type', 'color') != 'color':
        raise InputError(
            f'{cfg.filename}: the test pipeline starts with {dict(loader)}; prediction reads '
            "images itself and replaces LoadImageFromFile with color_type='color' only"
        )
    pixels = dict(type='mmdet.LoadImageFromNDArray', to_float32=loader.get('to_float32', False))
    scales = [step.scale for step in pipeline if isinstance(step.get('scale'), (list, tuple))]
    with explaining_build_errors(cfg):
        steps = Compose([pixels, *pipeline[1:]])
    return steps, max(scales[0]) if scales else None
