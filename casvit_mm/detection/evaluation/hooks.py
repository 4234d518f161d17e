"""Pictures of every test image, drawn by the process that evaluates it."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.structures.bbox import get_box_tensor
from mmengine.registry import HOOKS
from mmengine.structures import InstanceData

from casvit_mm.datasets.images import read_image
from casvit_mm.datasets.picture_hooks import PicturesHook
from casvit_mm.deploy.drawing import draw_objects

__all__ = ['DetectionPicturesHook']

_GAP = 8  # pixels between truth and predictions


@HOOKS.register_module()
class DetectionPicturesHook(PicturesHook):
    """Draw truth and detections of every test image side by side.

    Args:
        out_dir: As of :class:`casvit_mm.datasets.picture_hooks.PicturesHook`.
        root: Likewise.
        score_thr: Minimum score of a detection that is drawn.
    """

    def __init__(self, out_dir: str, root: str | None = None, score_thr: float = 0.3) -> None:
        super().__init__(out_dir, root)
        self.score_thr = score_thr

    def draw(self, sample: Any, meta: dict[str, Any], title: str) -> np.ndarray:
        image, classes = read_image(sample.img_path), list(meta['classes'])
        found = sample.pred_instances
        found = found[found.scores >= self.score_thr]
        right = _draw(image, found, found.scores.cpu().numpy(), classes, 'predictions:')
        truth = sample.get('gt_instances')
        if truth is None:
            return right
        left = _draw(image, truth, None, classes, 'truth:')
        gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
        return np.hstack([left, gap, right])


def _draw(
    image: np.ndarray,
    objects: InstanceData,
    scores: np.ndarray | None,
    classes: list[str],
    caption: str,
) -> np.ndarray:
    """Draw objects of mmdet onto a copy of an image (BGR)."""
    boxes = get_box_tensor(objects.bboxes).cpu().numpy().reshape(-1, 4)
    names = [classes[label] for label in objects.labels.tolist()]
    masks = objects.get('masks')
    if masks is not None:
        # The truth has mmdet's own kinds of masks, predictions are tensors.
        masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks.cpu().numpy()
        masks = masks.astype(bool)
    return draw_objects(image, boxes, scores, names, masks, classes, caption=caption)
