"""Dense heads of mmdet by what they compute: from their maps to candidates, in a graph.

A head is known by the methods that turn its maps into boxes, whatever its own name is: RetinaNet,
ATSS, FCOS and RTMDet share those of ``BaseDenseHead``. In the shapes below, ``a`` is the number of
anchors or points of a position, ``K`` of classes, and ``p = h * w`` of positions of a level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import GFLHead, RPNHead, RTMDetInsHead, YOLOXHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator, MlvlPointGenerator
from torch import Tensor, nn
from torch.nn import functional as F

from casvit_mm.detection.heads import BlockwiseRTMDetInsHead
from casvit_mm.export.box_decoders import dense_decoders
from casvit_mm.export.detection_parts import Candidates, unknown_part

__all__ = ['DenseCandidates', 'check_dense_head']

_MIN_LOGIT = -1e4  # its sigmoid is zero
# The classes whose methods turn a head's maps into boxes, known here by all of these methods.
_STEPS = (
    'predict',
    'predict_by_feat',
    '_predict_by_feat_single',
    '_bbox_post_process',
    '_bbox_mask_post_process',
    '_mask_predict_by_feat_single',
)
_KNOWN = (
    BaseDenseHead,
    GFLHead,
    RPNHead,
    RTMDetInsHead,
    BlockwiseRTMDetInsHead,
    YOLOXHead,
)


def check_dense_head(head: Any) -> None:
    """Refuse a head that finds its boxes in another way than those known here.

    Raises:
        InputError: Naming the head.
    """
    own, *ways = ([getattr(kind, step, None) for step in _STEPS] for kind in (type(head), *_KNOWN))
    known = own in ways and head.use_sigmoid_cls
    # A head for thousands of classes scores some of them twice.
    if not known or getattr(head.loss_cls, 'custom_cls_channels', False):
        raise unknown_part('head', head)
    if type(head.prior_generator) not in (AnchorGenerator, MlvlPointGenerator):
        raise unknown_part('prior generator', head.prior_generator)
    dense_decoders(head)


class DenseCandidates(nn.Module):
    """The candidates of each level, as ``predict_by_feat`` of mmdet's dense heads takes them.

    Args:
        head: A head that :func:`check_dense_head` knows.
        cfg: mmdet's settings: ``score_thr``, which a class must exceed, and ``nms_pre``, the number
            of candidates per level and image.
        by_level: Label candidates by their level instead of their class, as an RPN does.
    """

    def __init__(self, head: Any, cfg: dict[str, Any], by_level: bool = False) -> None:
        super().__init__()
        check_dense_head(head)
        self.prior_generator = head.prior_generator
        self.classes = head.cls_out_channels
        self.nms_pre = cfg.get('nms_pre', -1)
        self.min_logit = _as_logit(cfg.get('score_thr', 0.0))
        self.by_level = by_level
        # YOLOX has one candidate per place, which its objectness helps to choose.
        self.one_class = isinstance(head, YOLOXHead)
        self.decoders = dense_decoders(head)

    def forward(
        self,
        maps: Sequence[Sequence[Tensor]],
        height: int,
        width: int,
        kernels: Sequence[Tensor] | None = None,
    ) -> Candidates:
        """Return the candidates of all levels.

        Args:
            maps: Of each level logits ``(B, a * K, h, w)``, codes of boxes ``(B, a * C, h, w)``
                and, from some heads, logits of a factor of the scores ``(B, a, h, w)``.
            height: Of the image, in pixels of the input.
            width: Likewise.
            kernels: Of each level what the masks are drawn with ``(B, E, h, w)``; it becomes the
                ``details``, with point and stride behind it.
        """
        sizes = [logits.shape[-2:] for logits in maps[0]]
        device = maps[0][0].device
        # Per level (p * a, 4) or (p * a, 2).
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=device)
        levels, details = [], []
        for number, level in enumerate(zip(*maps, strict=True)):
            found, places = self._level(number, *level, priors=priors[number], size=(height, width))
            levels.append(found[:4])
            if kernels is not None:
                details.append(self._details(number, kernels[number], places, priors[number]))
        boxes, scores, labels, images = (torch.cat(column) for column in zip(*levels, strict=True))
        joined = torch.cat(details) if details else None
        return Candidates(boxes, scores, labels, images, joined)

    def _level(
        self,
        number: int,
        logits: Tensor,
        codes: Tensor,
        factors: Tensor | None = None,
        *,
        priors: Tensor,
        size: tuple[int, int],
    ) -> tuple[Candidates, Tensor]:
        """Return the candidates of a level and their places ``(N, 3)``."""
        anchors = self.prior_generator.num_base_priors[number]
        # unflatten would fix the sizes in an ONNX file.
        batch, channels = logits.shape[0], codes.shape[1] // anchors
        logits = logits.reshape(batch, anchors, self.classes, -1)  # (B, a, K, p)
        codes = codes.reshape(batch, anchors, channels, -1)  # (B, a, C, p)
        if factors is not None:
            factors = factors.reshape(batch, anchors, 1, -1)
        classes = None
        if self.one_class:
            assert factors is not None  # the objectness
            logits, classes = _joint(logits, factors)
            factors = None
        # Only places whose best class scores enough are read: few, once a network is trained.
        places = self._places(logits.amax(2).float())
        scores = _read(logits, places).float()  # (M, K)
        if self.classes > 1 and classes is None:
            rows, labels = (scores > self.min_logit).nonzero().unbind(1)  # pairs of place and class
            places = places[rows]
            scores = scores[rows, labels]
            rows = self._best(scores, places[:, 0], batch)
            places, scores, labels = places[rows], scores[rows], labels[rows]
        else:
            scores, labels = scores[:, 0], torch.zeros_like(places[:, 0])
        scores = scores.sigmoid()
        if factors is not None:
            scores = scores * _read(factors, places)[:, 0].float().sigmoid()
        if classes is not None:
            labels = _read(classes, places)[:, 0]
        if self.by_level:
            labels = torch.full_like(labels, number)
        images, anchor, position = places.unbind(1)
        boxes = self.decoders[number](
            priors[position * anchors + anchor], _read(codes, places), *size
        )
        return Candidates(boxes, scores, labels, images), places

    def _details(self, number: int, kernels: Tensor, places: Tensor, points: Tensor) -> Tensor:
        """Return kernel, point and stride of each place, ``(N, E + 3)``."""
        maps = kernels.reshape(kernels.shape[0], 1, kernels.shape[1], -1)
        stride = torch.full_like(places[:, :1], self.prior_generator.strides[number][0])
        return torch.cat([_read(maps, places).float(), points[places[:, 2]], stride.float()], 1)

    def _places(self, best: Tensor) -> Tensor:
        """Return image, anchor and position of the places to read, ``(M, 3)``.

        Args:
            best: The highest logit of each place, ``(B, a, p)``.
        """
        if self.min_logit > _MIN_LOGIT or self.nms_pre < 0:
            return (best > self.min_logit).nonzero()
        # Without a threshold: among the best pairs of place and class are only places whose best
        # class is among the best. Fewer places are filled up.
        batch, _, positions = best.shape
        padded = F.pad(best.flatten(1), (0, self.nms_pre), value=_MIN_LOGIT)
        best, rows = padded.topk(self.nms_pre)  # (B, nms_pre)
        images = torch.arange(batch, device=best.device)[:, None].expand_as(rows)
        # Core ML divides in floating point.
        places = torch.stack([images, (rows // positions).long(), rows % positions], 2)
        return places.flatten(0, 1)[(best.flatten() > _MIN_LOGIT).nonzero()[:, 0]]

    def _best(self, scores: Tensor, images: Tensor, batch: int) -> Tensor:
        """Return the rows of the ``nms_pre`` best of each image of a list ``(N,)``."""
        rows = scores.argsort(descending=True)
        if self.nms_pre < 0:
            return rows
        own = images[rows] == torch.arange(batch, device=rows.device)[:, None]  # (B, N)
        early = own & (own.long().cumsum(1) <= self.nms_pre)
        return rows[early.any(0).nonzero()[:, 0]]


def _as_logit(score: float) -> float:
    return math.log(score / (1 - score)) if score > 0 else _MIN_LOGIT


def _joint(logits: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logit of each place's best class times its factor, and the class.

    Both ``(B, a, 1, p)``.
    """
    best, classes = logits.float().max(2, keepdim=True)
    scores = best.sigmoid() * factors.float().sigmoid()
    return torch.log(scores / (1 - scores).clamp(min=1e-7)).clamp(min=_MIN_LOGIT), classes


def _read(maps: Tensor, places: Tensor) -> Tensor:
    """Return what maps ``(B, a, C, p)`` hold at places ``(M, 3)``: ``(M, C)``.

    The maps are not transposed, as they would be by an index along two of their axes.
    """
    _, anchors, channels, positions = maps.shape
    image, anchor, position = places[:, :, None].unbind(1)  # (M, 1)
    channel = torch.arange(channels, device=maps.device)
    index = ((image * anchors + anchor) * channels + channel) * positions + position  # (M, C)
    return maps.flatten()[index]
