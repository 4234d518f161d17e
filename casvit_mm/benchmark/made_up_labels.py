"""Random objects and masks, with which the training step of a detector or segmentor is timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ['OBJECTS', 'made_up_labels']

OBJECTS = 10  # in an image; COCO has 7.3


def made_up_labels(model: Any, samples: Sequence[Any], images: Tensor) -> list[Any]:
    """Return data samples with random labels, the same in every run.

    Args:
        model: Detector of mmdet or segmentor of mmseg.
        samples: Of mmdet or mmseg without labels, one per image.
        images: ``(B, 3, H, W)``, whose size and device the labels get.
    """
    draw = np.random.default_rng(0)
    height, width = images.shape[2:]
    for sample in samples:
        if hasattr(model, 'decode_head'):
            _add_mask(sample, draw, model.decode_head.num_classes, height, width)
        else:
            _add_objects(sample, draw, model, height, width)
    return [sample.to(images.device) for sample in samples]


def _add_mask(
    sample: Any, draw: np.random.Generator, classes: int, height: int, width: int
) -> None:
    from mmengine.structures import PixelData

    labels = torch.from_numpy(draw.integers(0, classes, (1, height, width)))
    sample.gt_sem_seg = PixelData(data=labels)


def _add_objects(
    sample: Any, draw: np.random.Generator, model: Any, height: int, width: int
) -> None:
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    two_stages = hasattr(model, 'roi_head')
    head = model.roi_head.bbox_head if two_stages else model.bbox_head
    corners = draw.uniform(0, 0.7, (OBJECTS, 2))
    sides = draw.uniform(0.05, 0.3, (OBJECTS, 2))  # of the image
    boxes = np.concatenate([corners, corners + sides], 1) * (width, height, width, height)
    masks = np.zeros((OBJECTS, height, width), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top : bottom + 1, left : right + 1] = 1
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes.astype(np.float32)),
        labels=torch.from_numpy(draw.integers(0, head.num_classes, OBJECTS)),
        masks=BitmapMasks(masks, height, width),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
