"""Parts of detectors that mmdet computes image by image in Python, as operators of a graph.

The candidates of a whole batch lie in one list, each with the number of its image. In the shapes
below, ``B`` is the batch and ``N`` the length of such a list. A list begins with two dummies that
can win nothing: a place of the outputs that no object takes points to the first. There are two
since a program of torch.export fails where suppression leaves one box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from casvit_mm.errors import InputError

__all__ = [
    'Candidates',
    'RoIFeatures',
    'Suppress',
    'real_rows',
    'unknown_part',
]


class Candidates(NamedTuple):
    """Possible objects of all images of a batch.

    Attributes:
        boxes: Left, top, right and bottom in pixels of the input, float32 ``(N, 4)``.
        scores: From 0 to 1, float32 ``(N,)``.
        labels: Numbers of the classes, or of the levels of an RPN, int64 ``(N,)``.
        images: Numbers of the images within the batch, int64 ``(N,)``.
        details: What the masks of some models are drawn from, float32 ``(N, E)``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    images: Tensor
    details: Tensor | None = None

    def take(self, rows: Tensor) -> Candidates:
        """Return the candidates of some rows, ``(M,)``."""
        details = None if self.details is None else self.details[rows]
        boxes, scores, labels, images = (column[rows] for column in self[:4])
        return Candidates(boxes, scores, labels, images, details)


class Suppress(nn.Module):
    """Non-maximum suppression per image and label.

    Args:
        nms_cfg: mmdet's config of it: ``iou_threshold``, above which the worse of two overlapping
            boxes is dropped.
        max_per_img: Boxes that are kept per image.
        min_side: Sides must be longer, in pixels; negative asks for nothing.

    Raises:
        InputError: If the config asks for another method.
    """

    def __init__(self, nms_cfg: dict, max_per_img: int, min_side: float = -1.0) -> None:
        super().__init__()
        self.iou_thr = _iou_thr(nms_cfg)
        self.max_per_img = max_per_img
        self.min_side = min_side

    def forward(self, candidates: Candidates, batch: int) -> tuple[Candidates, Tensor]:
        """Return ``B * max_per_img`` candidates, those of an image together, the best one first.

        Returns:
            The candidates, and which of them are real, bool ``(B * max_per_img,)``.
        """
        good = candidates.scores > 0
        if self.min_side >= 0:
            sides = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
            good = good & (sides > self.min_side).all(1)
        listed = _with_dummies(candidates.take(good.nonzero()[:, 0]))
        # Boxes of other labels are moved aside, those of other images below: they never overlap.
        extent = listed.boxes.amax() - listed.boxes.amin() + 1  # some decoders leave the image
        shift = torch.stack([listed.labels, listed.images], 1) * extent
        moved = listed.boxes + shift.repeat(1, 2)
        rows = nms(moved, listed.scores, self.iou_thr)  # (M,): kept, of all images
        # Of each image the best: in its row, what belongs to other images scores zero.
        images = torch.arange(batch, device=rows.device)[:, None]  # (B, 1)
        own = listed.images[rows] == images  # (B, M)
        scores = torch.where(own, listed.scores[rows], torch.zeros_like(listed.scores[rows]))
        scores, places = F.pad(scores, (0, self.max_per_img)).topk(self.max_per_img)
        rows = F.pad(rows, (0, self.max_per_img))[places]  # (B, max_per_img)
        real = scores > 0
        rows = torch.where(real, rows, torch.zeros_like(rows)).flatten()  # 0 is a dummy
        images = images.expand_as(real).flatten()
        return listed.take(rows)._replace(images=images), real.flatten()


def _with_dummies(candidates: Candidates) -> Candidates:
    """Put two candidates without area and score, whose labels are -1, in front."""
    boxes, scores, labels, images, details = candidates
    return Candidates(
        F.pad(boxes, (0, 0, 2, 0)),
        F.pad(scores, (2, 0)),
        F.pad(labels, (2, 0), value=-1),
        F.pad(images, (2, 0)),
        None if details is None else F.pad(details, (0, 0, 2, 0)),
    )


def _iou_thr(cfg: dict) -> float:
    known = {'type', 'iou_threshold'}
    if cfg.get('type', 'nms') != 'nms' or set(cfg) - known:
        raise InputError(
            f'the model suppresses duplicates by {dict(cfg)}; an export has plain nms with an '
            'iou_threshold'
        )
    return float(cfg['iou_threshold'])


class RoIFeatures(nn.Module):
    """Features of regions, each from the level that fits its size.

    Shape:
        Maps ``(B, C, h, w)`` of each level and regions ``(N, 5)``, number of the image and box,
        ``-> (N, C, S, S)``.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.choose_level = extractor.map_roi_levels
        self.layers = list(extractor.roi_layers)
        for layer in self.layers:
            if layer.pool_mode != 'avg':
                raise unknown_part('pooling', layer)

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        used = features[: len(self.layers)]
        levels = self.choose_level(rois, len(used))  # (N,)
        parts, orders = [], []
        for number, (layer, feature) in enumerate(zip(self.layers, used, strict=True)):
            rows = (levels == number).nonzero()[:, 0]  # the regions of this level
            pooled = roi_align(
                feature.float(),  # engines have no RoIAlign in half precision
                rois[rows],
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
            parts.append(pooled.to(feature.dtype))
            orders.append(rows)
        # The parts lie level after level; put each region back where it came from.
        order = torch.cat(orders)  # (N,)
        places = torch.arange(order.shape[0], device=order.device)
        back = torch.zeros_like(order).scatter(0, order, places)  # inverse permutation
        return torch.cat(parts)[back]


def real_rows(real: Tensor) -> Tensor:
    """Return the numbers of real rows, and row 0 in any case: networks want at least one."""
    first = torch.arange(real.shape[0], device=real.device) == 0
    return (real | first).nonzero()[:, 0]


def unknown_part(part: str, module: object) -> InputError:
    """Return the error for a part of a detector that has no form in a graph."""
    return InputError(
        f'a {part} {type(module).__name__} cannot be exported. Exported are Faster R-CNN, Mask '
        'R-CNN, and detectors of one stage that find boxes as RetinaNet, ATSS, FCOS, GFL, RTMDet '
        'or YOLOX does, with a sigmoid per class'
    )
