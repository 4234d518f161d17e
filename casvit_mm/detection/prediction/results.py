"""From mmdet's data samples to results, and the limits of what a detector gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.config import Config

from casvit_mm.config.class_counts import raise_max_dets
from casvit_mm.deploy.results import Detections

__all__ = ['read_sample', 'set_limits']


def set_limits(cfg: Config, score_thr: float | None, max_dets: int | None) -> None:
    """Set the minimum score and the maximum of objects in every stage of a detector, in place.

    Args:
        cfg: Its config.
        score_thr: Replaces ``score_thr`` of ``model.test_cfg``.
        max_dets: Raises the maximum of objects per image, where the config has a lower one.
    """
    if max_dets is not None:
        raise_max_dets(cfg, max_dets)
    if score_thr is not None:
        _set_score_thr(cfg.model.get('test_cfg') or {}, score_thr)


def _set_score_thr(node: dict[str, Any], score_thr: float) -> None:
    """Set the threshold in every stage of a ``test_cfg`` that has one."""
    for key, value in node.items():
        if key == 'score_thr':
            node[key] = score_thr
        elif isinstance(value, dict):
            _set_score_thr(value, score_thr)


def read_sample(sample: Any, classes: tuple[str, ...], size: tuple[int, int]) -> Detections:
    """Return what mmdet's DetDataSample says, the highest score first.

    Args:
        sample: With ``pred_instances``; its masks are larger than the image where it was padded.
        classes: All class names.
        size: Height and width of the image in pixels.
    """
    height, width = size
    found = sample.pred_instances.cpu()
    found = found[found.scores.argsort(descending=True, stable=True)]
    boxes = found.bboxes.numpy().astype(np.float32)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    labels = found.labels.numpy()
    masks = found.masks[:, :height, :width].numpy().astype(bool) if 'masks' in found else None
    names = tuple(classes[label] for label in labels)
    return Detections(boxes, found.scores.numpy(), labels, names, masks, classes=classes, size=size)
