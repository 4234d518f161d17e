"""Detectors of mmdet as graphs, with the results of its ``predict``.

mmdet chooses candidates and suppresses duplicates image by image in Python. Here the candidates of
a whole batch lie in one list, each with the number of its image, and every step is an operator of
the graph. Row 0 of each list is a dummy that can win nothing: a list is never empty, and a place of
the outputs that no object takes points to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.roi_heads.standard_roi_head import StandardRoIHead
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import DeltaXYWHBBoxCoder
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from casvit_mm.errors import InputError
from casvit_mm.export.networks import features_of, network_of

__all__ = ['OneStage', 'TwoStage']

_NEVER = -1e4  # a logit whose sigmoid is zero


class _Candidates(NamedTuple):
    """Boxes ``(N, 4)`` with their scores, labels and numbers of image ``(N,)``."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    images: Tensor

    def take(self, rows: Tensor) -> _Candidates:
        return _Candidates(*(column[rows] for column in self))


class _Decoder(nn.Module):
    """Anchors or proposals ``(N, 4)`` and deltas ``(N, 4)`` to boxes within the image."""

    means: Tensor
    stds: Tensor

    def __init__(self, coder: Any) -> None:
        super().__init__()
        if type(coder) is not DeltaXYWHBBoxCoder or coder.add_ctr_clamp:
            raise _unknown('box coder', coder)
        self.register_buffer('means', torch.tensor(coder.means))
        self.register_buffer('stds', torch.tensor(coder.stds))
        self.clip_border = coder.clip_border

    def forward(self, priors: Tensor, deltas: Tensor, height: int, width: int) -> Tensor:
        # Float32 also where the network computes in less.
        deltas = deltas.float() * self.stds.float() + self.means.float()
        sides = priors[:, 2:] - priors[:, :2]
        centres = (priors[:, :2] + priors[:, 2:]) * 0.5 + sides * deltas[:, :2]
        limit = abs(math.log(16 / 1000))
        halves = sides * deltas[:, 2:].clamp(-limit, limit).exp() * 0.5
        x1, y1 = (centres - halves).unbind(1)
        x2, y2 = (centres + halves).unbind(1)
        if self.clip_border:
            x1, x2 = x1.clamp(0, width), x2.clamp(0, width)
            y1, y2 = y1.clamp(0, height), y2.clamp(0, height)
        return torch.stack([x1, y1, x2, y2], 1)


class _DenseCandidates(nn.Module):
    """The best anchors of each level, as ``predict_by_feat`` of mmdet's dense heads takes them.

    Args:
        head: RetinaNet's head or an RPN.
        nms_pre: Candidates per level and image.
        by_level: Label candidates by their level instead of their class, as an RPN does.
    """

    def __init__(self, head: Any, nms_pre: int, by_level: bool) -> None:
        super().__init__()
        if not isinstance(head, AnchorHead) or not head.use_sigmoid_cls:
            raise _unknown('head', head)
        self.prior_generator = head.prior_generator
        self.classes = head.cls_out_channels
        self.nms_pre = nms_pre
        self.by_level = by_level
        self.decoder = _Decoder(head.bbox_coder)

    def forward(
        self, maps: tuple[Sequence[Tensor], Sequence[Tensor]], height: int, width: int
    ) -> _Candidates:
        sizes = [scores.shape[-2:] for scores in maps[0]]
        device = maps[0][0].device
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=device)
        levels = [
            self._level(number, *level, height, width)
            for number, level in enumerate(zip(*maps, priors, strict=True))
        ]
        return _Candidates(*(torch.cat(column) for column in zip(*levels, strict=True)))

    def _level(
        self, number: int, scores: Tensor, deltas: Tensor, priors: Tensor, height: int, width: int
    ) -> _Candidates:
        batch = scores.shape[0]
        logits = scores.permute(0, 2, 3, 1).reshape(batch, -1, self.classes).float()
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
        anchors = deltas.shape[1]
        # Among the best pairs of anchor and class are only anchors whose best class is among the
        # best: two short searches instead of one through all pairs.
        best, rows = self._top(logits.amax(2))
        rows = rows.clamp(max=anchors - 1)
        images = torch.arange(batch, device=scores.device)[:, None]
        rows = rows + images * anchors
        labels = torch.full_like(rows, number if self.by_level else 0)
        if self.classes > 1:
            pairs = logits.reshape(-1, self.classes)[rows]
            pairs = torch.where(best[..., None] > _NEVER, pairs, torch.full_like(pairs, _NEVER))
            best, places = self._top(pairs.flatten(1))
            places = places.clamp(max=self.nms_pre * self.classes - 1)
            labels = places % self.classes
            # Core ML divides in floating point.
            rows = rows.gather(1, (places // self.classes).long())
        flat = rows.flatten()
        boxes = self.decoder(priors[flat % anchors], deltas.reshape(-1, 4)[flat], height, width)
        images = images.expand_as(rows).flatten()
        return _Candidates(boxes, best.flatten().sigmoid(), labels.flatten(), images)

    def _top(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ``nms_pre`` largest of each row, filled up where there are fewer."""
        return F.pad(values, (0, self.nms_pre), value=_NEVER).topk(self.nms_pre)


class _Suppress(nn.Module):
    """Non-maximum suppression per image and label.

    Args:
        iou_thr: Boxes that overlap a better one by more are dropped.
        score_thr: Candidates must score more.
        max_per_img: Boxes that are kept per image.
        min_side: Sides must be longer, in pixels; negative asks for nothing.
    """

    def __init__(
        self, iou_thr: float, score_thr: float, max_per_img: int, min_side: float = -1.0
    ) -> None:
        super().__init__()
        self.iou_thr = iou_thr
        self.score_thr = score_thr
        self.max_per_img = max_per_img
        self.min_side = min_side

    def forward(
        self, candidates: _Candidates, batch: int, height: int, width: int
    ) -> tuple[_Candidates, Tensor]:
        """Return the kept ones, flattened ``(B * max_per_img)``, and which of them are real."""
        good = candidates.scores > self.score_thr
        if self.min_side >= 0:
            sides = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
            good = good & (sides > self.min_side).all(1)
        listed = _with_dummy(candidates.take(good.nonzero()[:, 0]))
        # Boxes of other labels are moved aside, those of other images below: they never overlap.
        shift = torch.stack([listed.labels * (width + 1), listed.images * (height + 1)], 1)
        moved = listed.boxes + shift.repeat(1, 2).to(listed.boxes.dtype)
        rows = nms(moved, listed.scores, self.iou_thr)
        images = torch.arange(batch, device=rows.device)[:, None]
        mine = listed.images[rows] == images  # (B, kept)
        scores = torch.where(mine, listed.scores[rows], torch.zeros_like(listed.scores[rows]))
        scores, places = F.pad(scores, (0, self.max_per_img)).topk(self.max_per_img)
        rows = F.pad(rows, (0, self.max_per_img))[places]
        real = scores > 0
        rows = torch.where(real, rows, torch.zeros_like(rows)).flatten()
        images = images.expand_as(real).flatten()
        return listed.take(rows)._replace(images=images), real.flatten()


def _with_dummy(candidates: _Candidates) -> _Candidates:
    """Put a box without area, score and label in front."""
    boxes, scores, labels, images = candidates
    return _Candidates(
        F.pad(boxes, (0, 0, 1, 0)),
        F.pad(scores, (1, 0)),
        F.pad(labels, (1, 0), value=-1),
        F.pad(images, (1, 0)),
    )


class _RoIFeatures(nn.Module):
    """Features of regions ``(N, 5)``, each from the level that fits its size."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.choose_level = extractor.map_roi_levels
        self.layers = list(extractor.roi_layers)
        for layer in self.layers:
            if layer.pool_mode != 'avg':
                raise _unknown('pooling', layer)

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        used = features[: len(self.layers)]
        levels = self.choose_level(rois, len(used))
        parts, orders = [], []
        for number, (layer, feature) in enumerate(zip(self.layers, used, strict=True)):
            rows = (levels == number).nonzero()[:, 0]
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
        order = torch.cat(orders)
        places = torch.arange(order.shape[0], device=order.device)
        back = torch.zeros_like(order).scatter(0, order, places)
        return torch.cat(parts)[back]


class OneStage(nn.Module):
    """RetinaNet and other detectors with anchors and a sigmoid per class.

    Shape:
        ``(B, 3, H, W)`` -> boxes ``(B, K, 4)``, scores ``(B, K)`` and labels ``(B, K)``, where
        ``K`` is ``max_per_img``; what is over has the score 0 and the label -1.
    """

    names: tuple[str, ...] = ('boxes', 'scores', 'labels')

    def __init__(self, model: Any) -> None:
        super().__init__()
        cfg = model.test_cfg
        self.strides = _strides(model.bbox_head)
        self.network = nn.ModuleDict(network_of(model))
        self.head = model.bbox_head
        self.candidates = _DenseCandidates(model.bbox_head, cfg.nms_pre, by_level=False)
        thr = cfg.get('score_thr', 0.0)
        min_side = cfg.get('min_bbox_size', -1)
        self.suppress = _Suppress(_iou_thr(cfg.nms), thr, cfg.max_per_img, min_side)

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        batch = x.shape[0]
        maps = self.head(features_of(self.network, x))
        if len(maps) != 2:
            raise _unknown('head', self.head)
        found = self.candidates(maps, height, width)
        found, _ = self.suppress(found, batch, height, width)
        return _per_image(found, self.suppress.max_per_img)


class TwoStage(nn.Module):
    """Mask R-CNN, and Faster R-CNN, which has no masks.

    Shape:
        As :class:`OneStage`; masks ``(B, K, 28, 28)`` are probabilities within their boxes, zero
        where there is no object.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        roi_head = model.roi_head
        if type(roi_head) is not StandardRoIHead or roi_head.with_shared_head:
            raise _unknown('roi_head', roi_head)
        rpn, rcnn = model.test_cfg.rpn, model.test_cfg.rcnn
        self.strides = _strides(model.rpn_head)
        self.network = nn.ModuleDict(network_of(model))
        self.rpn = model.rpn_head
        self.candidates = _DenseCandidates(model.rpn_head, rpn.nms_pre, by_level=True)
        min_side = rpn.get('min_bbox_size', -1)
        self.propose = _Suppress(_iou_thr(rpn.nms), 0.0, rpn.max_per_img, min_side)
        self.box_features = _RoIFeatures(roi_head.bbox_roi_extractor)
        self.box_head = roi_head.bbox_head
        if self.box_head.custom_activation:
            raise _unknown('activation', self.box_head.loss_cls)
        self.decoder = _Decoder(self.box_head.bbox_coder)
        self.suppress = _Suppress(_iou_thr(rcnn.nms), rcnn.score_thr, rcnn.max_per_img)
        self.names = OneStage.names
        if roi_head.with_mask:
            self.mask_features = _RoIFeatures(roi_head.mask_roi_extractor)
            self.mask_head = roi_head.mask_head
            self.names += ('masks',)

    def forward(self, x: Tensor, height: int, width: int) -> list[Tensor]:
        batch = x.shape[0]
        features = features_of(self.network, x)
        found = self.candidates(self.rpn(features), height, width)
        proposals, real = self.propose(found, batch, height, width)
        found = self._classify(features, proposals, real, height, width)
        found, real = self.suppress(found, batch, height, width)
        outputs = _per_image(found, self.suppress.max_per_img)
        if 'masks' in self.names:
            masks = self._draw(features, found, real)
            outputs.append(masks.unflatten(0, (-1, self.suppress.max_per_img)))
        return outputs

    def _classify(
        self,
        features: Sequence[Tensor],
        proposals: _Candidates,
        real: Tensor,
        height: int,
        width: int,
    ) -> _Candidates:
        """Return each real proposal with each class that scores enough."""
        rows = _real_rows(real)
        rois = _rois(proposals, rows)
        logits, deltas = self.box_head(self.box_features(features, rois))
        scores = logits.float().softmax(-1)[:, :-1] * real[rows, None]
        classes = self.box_head.num_classes
        good = (scores.flatten() > self.suppress.score_thr).nonzero()[:, 0]
        owners = good // classes
        if self.box_head.reg_class_agnostic:
            boxes = self.decoder(rois[owners, 1:], deltas[owners], height, width)
        else:
            deltas = deltas.reshape(-1, 4)[good]
            boxes = self.decoder(rois[owners, 1:], deltas, height, width)
        images = proposals.images[rows][owners]
        return _Candidates(boxes, scores.flatten()[good], good % classes, images)

    def _draw(self, features: Sequence[Tensor], found: _Candidates, real: Tensor) -> Tensor:
        """Return the mask of each real object's class, in the places of all."""
        rows = _real_rows(real)
        logits = self.mask_head(self.mask_features(features, _rois(found, rows))).float()
        size = logits.shape[2:]
        channels = 1 if self.mask_head.class_agnostic else self.mask_head.num_classes
        places = torch.arange(rows.shape[0], device=rows.device) * channels
        if channels > 1:
            places = places + found.labels[rows].clamp(min=0)
        masks = logits.reshape(-1, *size)[places].sigmoid() * real[rows, None, None]
        return masks.new_zeros(real.shape[0], *size).index_put((rows,), masks)


def _strides(head: Any) -> list[int]:
    return [max(stride) for stride in head.prior_generator.strides]


def _real_rows(real: Tensor) -> Tensor:
    """Return the numbers of real rows, and row 0 in any case: networks want at least one."""
    first = torch.arange(real.shape[0], device=real.device) == 0
    return (real | first).nonzero()[:, 0]


def _rois(candidates: _Candidates, rows: Tensor) -> Tensor:
    """Return regions ``(N, 5)``: number of the image and box."""
    boxes = candidates.boxes[rows]
    return torch.cat([candidates.images[rows, None].to(boxes.dtype), boxes], 1)


def _per_image(found: _Candidates, number: int) -> list[Tensor]:
    """Return boxes, scores and labels ``(B, number, ...)``."""
    return [column.unflatten(0, (-1, number)) for column in found[:3]]


def _iou_thr(cfg: dict) -> float:
    known = {'type', 'iou_threshold'}
    if cfg.get('type', 'nms') != 'nms' or set(cfg) - known:
        raise InputError(
            f'the model suppresses duplicates by {dict(cfg)}; an export has plain nms with an '
            'iou_threshold'
        )
    return float(cfg['iou_threshold'])


def _unknown(part: str, module: object) -> InputError:
    return InputError(
        f'a {part} {type(module).__name__} cannot be exported. Exported are RetinaNet and other '
        'detectors with anchors and a sigmoid per class, Faster R-CNN and Mask R-CNN'
    )
