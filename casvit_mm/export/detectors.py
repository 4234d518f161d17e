"""Detectors of mmdet as graphs, with the results of its ``predict``.

Backbone, neck and heads are mmdet's own modules. What mmdet computes image by image in Python
between and after them is done for the whole batch by :mod:`casvit_mm.export.dense_heads` and
:mod:`casvit_mm.export.detection_parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RTMDetInsHead, YOLOXHead
from mmdet.models.roi_heads.standard_roi_head import StandardRoIHead
from torch import Tensor, nn

from casvit_mm.export.box_decoders import DeltaDecoder
from casvit_mm.export.dense_heads import DenseCandidates, check_dense_head
from casvit_mm.export.detection_parts import (
    Candidates,
    RoIFeatures,
    Suppress,
    real_rows,
    unknown_part,
)
from casvit_mm.export.instance_masks import InstanceMasks
from casvit_mm.export.networks import features_of, network_of

__all__ = [
    'MAX_PER_IMG',
    'OneStage',
    'TwoStage',
    'check_heads',
    'least_score',
    'level_strides',
    'mask_stride',
    'scored_twice',
]


def check_heads(model: Any) -> None:
    """Refuse a detector whose heads, or a layer of it, have no form here.

    Raises:
        InputError: Naming the head or layer.
    """
    heads = [getattr(model, name, None) for name in ('rpn_head', 'bbox_head')]
    dense = next((head for head in heads if head is not None), None)
    if dense is None:
        raise unknown_part('detector', model)
    check_dense_head(dense)
    roi_head = getattr(model, 'roi_head', None)
    if roi_head is not None and (
        type(roi_head) is not StandardRoIHead or roi_head.with_shared_head
    ):
        raise unknown_part('roi_head', roi_head)
    if roi_head is None and getattr(model, 'mask_head', None) is not None:
        raise unknown_part('mask_head', model.mask_head)
    for module in model.modules():
        # Such as deformable convolutions; RoIAlign is torchvision's in the graph.
        if type(module).__module__.startswith('mmcv.ops.') and type(module).__name__ != 'RoIAlign':
            raise unknown_part('layer', module)


def least_score(model: Any) -> float:
    """Return the score that every object of a detector exceeds.

    That is the threshold of its config, unless a factor makes scores smaller afterwards, as
    centerness does.
    """
    cfg = model.test_cfg.get('rcnn', model.test_cfg)
    dense = getattr(model, 'roi_head', None) is None
    if dense and not isinstance(model.bbox_head, YOLOXHead) and scored_twice(model):
        return 0.0
    return float(cfg.get('score_thr', 0.0))


@torch.no_grad()
def scored_twice(model: Any) -> bool:
    """Return whether the head of a detector of one stage predicts a factor of the scores."""
    return len(model.bbox_head(model.extract_feat(torch.zeros(1, 3, 64, 64)))) == 3


def mask_stride(model: Any) -> int | None:
    """Return the stride of masks of the whole input; None where they lie within boxes, or none."""
    head = getattr(model, 'bbox_head', None)
    return head.prior_generator.strides[0][0] if isinstance(head, RTMDetInsHead) else None


MAX_PER_IMG = 1000  # where a config, such as YOLOX's, keeps all


class OneStage(nn.Module):
    """Detectors whose dense head finds the boxes, such as RetinaNet and RTMDet.

    Shape:
        ``(B, 3, H, W)`` -> boxes ``(B, P, 4)``, scores ``(B, P)`` and labels ``(B, P)``, where
        ``P`` is ``max_per_img``. Places without an object have the score 0 and the label -1.
        From RTMDet-Ins also masks ``(B, P, h, w)``, logits of the whole input at the stride of its
        first level.
    """

    names: tuple[str, ...] = ('boxes', 'scores', 'labels')

    def __init__(self, model: Any) -> None:
        super().__init__()
        cfg = model.test_cfg
        self.strides = level_strides(model.bbox_head)
        self.network = nn.ModuleDict(network_of(model))
        self.head = model.bbox_head
        self.candidates = DenseCandidates(model.bbox_head, cfg)
        min_side = cfg.get('min_bbox_size', -1)
        self.suppress = Suppress(cfg.nms, cfg.get('max_per_img', MAX_PER_IMG), min_side)
        if isinstance(self.head, RTMDetInsHead):
            self.instance_masks = InstanceMasks(self.head)
            self.names += ('masks',)

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        batch = x.shape[0]
        maps = self.head(features_of(self.network, x))
        if 'masks' not in self.names:
            found, _ = self.suppress(self.candidates(maps, height, width), batch)
            return _per_image(found, self.suppress.max_per_img)
        *maps, kernels, features = maps
        found = self.candidates(maps, height, width, kernels)
        found, real = self.suppress(found, batch)
        masks = self.instance_masks(features, found, real)
        number = self.suppress.max_per_img
        return [*_per_image(found, number), masks.unflatten(0, (-1, number))]


class TwoStage(nn.Module):
    """Mask R-CNN, and Faster R-CNN, which has no masks.

    Shape:
        As :class:`OneStage`; masks ``(B, P, 28, 28)`` are probabilities within their boxes, zero
        where there is no object.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        roi_head = model.roi_head
        rpn, rcnn = model.test_cfg.rpn, model.test_cfg.rcnn
        self.strides = level_strides(model.rpn_head)
        self.network = nn.ModuleDict(network_of(model))
        self.rpn = model.rpn_head
        self.candidates = DenseCandidates(model.rpn_head, rpn, by_level=True)
        min_side = rpn.get('min_bbox_size', -1)
        self.propose = Suppress(rpn.nms, rpn.max_per_img, min_side)
        self.box_features = RoIFeatures(roi_head.bbox_roi_extractor)
        self.box_head = roi_head.bbox_head
        if self.box_head.custom_activation:
            raise unknown_part('activation', self.box_head.loss_cls)
        self.decoder = DeltaDecoder(self.box_head.bbox_coder)
        self.score_thr = rcnn.score_thr
        self.suppress = Suppress(rcnn.nms, rcnn.max_per_img)
        self.names = OneStage.names
        if roi_head.with_mask:
            self.mask_features = RoIFeatures(roi_head.mask_roi_extractor)
            self.mask_head = roi_head.mask_head
            self.names += ('masks',)

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        batch = x.shape[0]
        features = features_of(self.network, x)
        found = self.candidates(self.rpn(features), height, width)
        proposals, real = self.propose(found, batch)
        found = self._classify(features, proposals, real, height, width)
        found, real = self.suppress(found, batch)
        outputs = _per_image(found, self.suppress.max_per_img)
        if 'masks' in self.names:
            masks = self._draw(features, found, real)
            outputs.append(masks.unflatten(0, (-1, self.suppress.max_per_img)))
        return outputs

    def _classify(
        self,
        features: Sequence[Tensor],
        proposals: Candidates,
        real: Tensor,
        height: int,
        width: int,
    ) -> Candidates:
        """Return each real proposal with each class that scores enough."""
        rows = real_rows(real)  # (R,)
        rois = _rois(proposals, rows)  # (R, 5)
        logits, deltas = self.box_head(self.box_features(features, rois))  # (R, K + 1), (R, K * 4)
        # Without the background, and zero where row 0 is no proposal.
        scores = logits.float().softmax(-1)[:, :-1] * real[rows, None]  # (R, K)
        classes = self.box_head.num_classes
        # Pairs of proposal and class, numbered by proposal * K + class.
        good = (scores.flatten() > self.score_thr).nonzero()[:, 0]  # (G,)
        owners = good // classes
        if self.box_head.reg_class_agnostic:
            boxes = self.decoder(rois[owners, 1:], deltas[owners], height, width)
        else:
            deltas = deltas.reshape(-1, 4)[good]
            boxes = self.decoder(rois[owners, 1:], deltas, height, width)
        images = proposals.images[rows][owners]
        return Candidates(boxes, scores.flatten()[good], good % classes, images)

    def _draw(self, features: Sequence[Tensor], found: Candidates, real: Tensor) -> Tensor:
        """Return the mask of each real object's class, zeros elsewhere, ``(B * P, 28, 28)``."""
        rows = real_rows(real)  # (R,)
        logits = self.mask_head(self.mask_features(features, _rois(found, rows))).float()
        size = logits.shape[2:]  # logits: (R, K, 28, 28), or (R, 1, 28, 28) for all classes
        channels = 1 if self.mask_head.class_agnostic else self.mask_head.num_classes
        places = torch.arange(rows.shape[0], device=rows.device) * channels
        if channels > 1:
            places = places + found.labels[rows].clamp(min=0)
        masks = logits.reshape(-1, *size)[places].sigmoid() * real[rows, None, None]
        return masks.new_zeros(real.shape[0], *size).index_put((rows,), masks)


def level_strides(head: Any) -> list[int]:
    """Return input pixels per position of each level of a head, those of the neck included."""
    return [max(stride) for stride in head.prior_generator.strides]


def _rois(candidates: Candidates, rows: Tensor) -> Tensor:
    """Return regions ``(R, 5)``: number of the image and box."""
    boxes = candidates.boxes[rows]
    return torch.cat([candidates.images[rows, None].to(boxes.dtype), boxes], 1)


def _per_image(found: Candidates, number: int) -> list[Tensor]:
    """Return boxes ``(B, number, 4)``, and scores and labels ``(B, number)``."""
    return [column.unflatten(0, (-1, number)) for column in found[:3]]
