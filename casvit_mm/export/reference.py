"""What the mm model predicts in PyTorch, which an exported file is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from casvit_mm.deploy.images import Resized
from casvit_mm.deploy.results import Detections, Segmentation

__all__ = ['reference']


@torch.no_grad()
def reference(
    model: Any, task: str, resized: Resized, names: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], Detections | Segmentation | None]:
    """Return what the mm model predicts for resized pixels, by the code of its own package.

    Args:
        model: The mm model.
        task: As in :class:`casvit_mm.deploy.Spec`.
        resized: An image at the size of the network's input.
        names: Names of the feature maps of a backbone.

    Returns:
        Raw outputs by the names that an export gives them, none for a detector; and the prediction
        of a detector or segmentor.
    """
    image = torch.from_numpy(resized.pixels.transpose(2, 0, 1).copy())  # (3, H, W), BGR, uint8
    if task == 'detection':
        return {}, _detections(model, image, resized)
    if task == 'segmentation':
        return _segmentation(model, image, resized)
    height, width = image.shape[1:]
    x = model.data_preprocessor(dict(inputs=[image]), training=False)['inputs']
    x = x[..., :height, :width]  # (1, 3, H, W): a backbone alone is not padded
    if task == 'classification':
        return {'scores': model(x, mode='tensor').softmax(-1).numpy()}, None
    maps = zip(names, model.backbone(x), strict=True)
    return {name: values.numpy() for name, values in maps}, None


def _detections(model: Any, image: Tensor, resized: Resized) -> Detections:
    from mmdet.structures import DetDataSample

    height, width = resized.original_size
    sample = DetDataSample(
        metainfo=dict(
            ori_shape=resized.original_size,
            img_shape=resized.image_size,
            scale_factor=(resized.image_size[1] / width, resized.image_size[0] / height),
        )
    )
    found = model.test_step(dict(inputs=[image], data_samples=[sample]))[0].pred_instances
    boxes = found.bboxes.numpy()  # (N, 4): left, top, right, bottom
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    masks = found.masks.numpy() if 'masks' in found else None  # (N, H, W)
    return Detections(boxes, found.scores.numpy(), found.labels.numpy(), (), masks)


def _segmentation(
    model: Any, image: Tensor, resized: Resized
) -> tuple[dict[str, np.ndarray], Segmentation]:
    from mmseg.structures import SegDataSample

    meta = dict(ori_shape=resized.original_size, img_shape=resized.image_size)
    meta['pad_shape'] = meta['img_shape']
    sample = SegDataSample(metainfo=meta)
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), False)
    logits = model(data['inputs'], mode='tensor')  # (1, C, h, w)
    enlarged = model.decode_head.predict_by_feat(logits, [meta])  # (1, C, H, W)
    predicted = model.postprocess_result(enlarged, data['data_samples'])[0].pred_sem_seg
    return {'logits': logits.numpy()}, Segmentation(predicted.data[0].numpy())
