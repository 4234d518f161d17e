"""Parts of detectors that mmdet computes image by image in Python, as operators of a graph.

The candidates of a whole batch lie in one list, each with the number of its image. In the shapes
below, ``B`` is the batch, ``N`` the length of such a list, ``A`` the anchors of a level and ``K``
the classes. Row 0 of a list that :class:`Suppress` returns is a dummy that can win nothing: a list
is never empty, and a place of the outputs that no object takes points to the dummy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import DeltaXYWHBBoxCoder
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from casvit_mm.errors import InputError

__all__ = [
    'Candidates',
    'Decoder',
    'DenseCandidates',
    'RoIFeatures',
    'Suppress',
    'check_dense_head',
    'unknown_part',
]

_MIN_LOGIT = -1e4  # its sigmoid is zero
_MAX_LOG_SCALE = abs(math.log(16 / 1000))  # by which a box may grow or shrink, as in mmdet


class Candidates(NamedTuple):
    """Possible objects of all images of a batch.

    Attributes:
        boxes: Left, top, right and bottom in pixels of the input, float32 ``(N, 4)``.
        scores: From 0 to 1, float32 ``(N,)``.
        labels: Numbers of the classes, or of the levels of an RPN, int64 ``(N,)``.
        images: Numbers of the images within the batch, int64 ``(N,)``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    images: Tensor

    def take(self, rows: Tensor) -> Candidates:
        """Return the candidates of some rows, ``(M,)``."""
        return Candidates(*(column[rows] for column in self))


class Decoder(nn.Module):
    """Anchors or proposals and their deltas to boxes, as mmdet's DeltaXYWHBBoxCoder decodes them.

    Shape:
        Priors ``(N, 4)`` and deltas ``(N, 4)`` -> boxes ``(N, 4)``, within the image if the coder
        clips.
    """

    means: Tensor
    stds: Tensor

    def __init__(self, coder: Any) -> None:
        super().__init__()
        if type(coder) is not DeltaXYWHBBoxCoder or coder.add_ctr_clamp:
            raise unknown_part('box coder', coder)
        self.register_buffer('means', torch.tensor(coder.means))
        self.register_buffer('stds', torch.tensor(coder.stds))
        self.clip_border = coder.clip_border

    def forward(self, priors: Tensor, deltas: Tensor, height: int, width: int) -> Tensor:
        # Float32 also where the network computes in less.
        deltas = deltas.float() * self.stds.float() + self.means.float()
        sides = priors[:, 2:] - priors[:, :2]  # (N, 2): width and height
        centres = (priors[:, :2] + priors[:, 2:]) * 0.5 + sides * deltas[:, :2]  # (N, 2)
        scales = deltas[:, 2:].clamp(-_MAX_LOG_SCALE, _MAX_LOG_SCALE).exp()
        halves = sides * scales * 0.5
        x1, y1 = (centres - halves).unbind(1)
        x2, y2 = (centres + halves).unbind(1)
        if self.clip_border:
            x1, x2 = x1.clamp(0, width), x2.clamp(0, width)
            y1, y2 = y1.clamp(0, height), y2.clamp(0, height)
        return torch.stack([x1, y1, x2, y2], 1)


class DenseCandidates(nn.Module):
    """The best anchors of each level, as ``predict_by_feat`` of mmdet's dense heads takes them.

    Args:
        head: RetinaNet's head or an RPN.
        nms_pre: Candidates per level and image.
        by_level: Label candidates by their level instead of their class, as an RPN does.
    """

    def __init__(self, head: Any, nms_pre: int, by_level: bool) -> None:
        super().__init__()
        check_dense_head(head)
        self.prior_generator = head.prior_generator
        self.classes = head.cls_out_channels
        self.nms_pre = nms_pre
        self.by_level = by_level
        self.decoder = Decoder(head.bbox_coder)

    def forward(
        self, maps: tuple[Sequence[Tensor], Sequence[Tensor]], height: int, width: int
    ) -> Candidates:
        """Return ``B * nms_pre`` candidates per level.

        Args:
            maps: Logits ``(B, a * K, h, w)`` and deltas ``(B, a * 4, h, w)`` of each level, with
                ``a`` anchors per position, so that ``A = h * w * a``.
            height: Of the image, in pixels of the input.
            width: Likewise.
        """
        sizes = [logits.shape[-2:] for logits in maps[0]]
        device = maps[0][0].device
        # Per level (A, 4).
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=device)
        levels = [
            self._level(number, *level, height, width)
            for number, level in enumerate(zip(*maps, priors, strict=True))
        ]
        return Candidates(*(torch.cat(column) for column in zip(*levels, strict=True)))

    def _level(
        self, number: int, logits: Tensor, deltas: Tensor, priors: Tensor, height: int, width: int
    ) -> Candidates:
        batch = logits.shape[0]
        logits = logits.permute(0, 2, 3, 1).reshape(batch, -1, self.classes).float()  # (B, A, K)
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)  # (B, A, 4)
        anchors = deltas.shape[1]
        # Among the best pairs of anchor and class are only anchors whose best class is among the
        # best: two short searches instead of one through all pairs.
        best, rows = self._top(logits.amax(2))  # (B, nms_pre): logits, and numbers of anchors
        rows = rows.clamp(max=anchors - 1)  # those filled up point beyond the last anchor
        images = torch.arange(batch, device=logits.device)[:, None]  # (B, 1)
        rows = rows + images * anchors  # in the list of the anchors of all images, (B * A,)
        labels = torch.full_like(rows, number if self.by_level else 0)
        if self.classes > 1:
            pairs = logits.reshape(-1, self.classes)[rows]  # (B, nms_pre, K)
            listed = best[..., None] > _MIN_LOGIT  # not filled up
            pairs = torch.where(listed, pairs, torch.full_like(pairs, _MIN_LOGIT))
            best, places = self._top(pairs.flatten(1))  # (B, nms_pre), of nms_pre * K pairs
            places = places.clamp(max=self.nms_pre * self.classes - 1)
            labels = places % self.classes
            # Core ML divides in floating point.
            rows = rows.gather(1, (places // self.classes).long())
        flat = rows.flatten()  # (B * nms_pre,)
        boxes = self.decoder(priors[flat % anchors], deltas.reshape(-1, 4)[flat], height, width)
        images = images.expand_as(rows).flatten()
        return Candidates(boxes, best.flatten().sigmoid(), labels.flatten(), images)

    def _top(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ``nms_pre`` largest of each row and their places, filled up where fewer."""
        return F.pad(values, (0, self.nms_pre), value=_MIN_LOGIT).topk(self.nms_pre)


class Suppress(nn.Module):
    """Non-maximum suppression per image and label.

    Args:
        nms_cfg: mmdet's config of it: ``iou_threshold``, above which the worse of two overlapping
            boxes is dropped.
        score_thr: Candidates must score more.
        max_per_img: Boxes that are kept per image.
        min_side: Sides must be longer, in pixels; negative asks for nothing.

    Raises:
        InputError: If the config asks for another method.
    """

    def __init__(
        self, nms_cfg: dict, score_thr: float, max_per_img: int, min_side: float = -1.0
    ) -> None:
        super().__init__()
        self.iou_thr = _iou_thr(nms_cfg)
        self.score_thr = score_thr
        self.max_per_img = max_per_img
        self.min_side = min_side

    def forward(
        self, candidates: Candidates, batch: int, height: int, width: int
    ) -> tuple[Candidates, Tensor]:
        """Return ``B * max_per_img`` candidates, those of an image together, the best one first.

        Returns:
            The candidates, and which of them are real, bool ``(B * max_per_img,)``.
        """
        good = candidates.scores > self.score_thr
        if self.min_side >= 0:
            sides = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
            good = good & (sides > self.min_side).all(1)
        listed = _with_dummy(candidates.take(good.nonzero()[:, 0]))
        # Boxes of other labels are moved aside, those of other images below: they never overlap.
        shift = torch.stack([listed.labels * (width + 1), listed.images * (height + 1)], 1)
        moved = listed.boxes + shift.repeat(1, 2).to(listed.boxes.dtype)
        rows = nms(moved, listed.scores, self.iou_thr)  # (M,): kept, of all images
        # Of each image the best: in its row, what belongs to other images scores zero.
        images = torch.arange(batch, device=rows.device)[:, None]  # (B, 1)
        own = listed.images[rows] == images  # (B, M)
        scores = torch.where(own, listed.scores[rows], torch.zeros_like(listed.scores[rows]))
        scores, places = F.pad(scores, (0, self.max_per_img)).topk(self.max_per_img)
        rows = F.pad(rows, (0, self.max_per_img))[places]  # (B, max_per_img)
        real = scores > 0
        rows = torch.where(real, rows, torch.zeros_like(rows)).flatten()  # 0 is the dummy
        images = images.expand_as(real).flatten()
        return listed.take(rows)._replace(images=images), real.flatten()


def _with_dummy(candidates: Candidates) -> Candidates:
    """Put a candidate without area and score, whose label is -1, in front."""
    boxes, scores, labels, images = candidates
    return Candidates(
        F.pad(boxes, (0, 0, 1, 0)),
        F.pad(scores, (1, 0)),
        F.pad(labels, (1, 0), value=-1),
        F.pad(images, (1, 0)),
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


def check_dense_head(head: Any) -> None:
    """Refuse a head without anchors, or with a softmax over the classes.

    Raises:
        InputError: Naming the head.
    """
    if not isinstance(head, AnchorHead) or not head.use_sigmoid_cls:
        raise unknown_part('head', head)


def unknown_part(part: str, module: object) -> InputError:
    """Return the error for a part of a detector that has no form in a graph."""
    return InputError(
        f'a {part} {type(module).__name__} cannot be exported. Exported are RetinaNet and other '
        'detectors with anchors and a sigmoid per class, Faster R-CNN and Mask R-CNN'
    )
