"""What networks predict for a place, as a box: mmdet's coders as operators of a graph."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmdet.models.dense_heads import GFLHead, YOLOXHead
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.coders.distance_point_bbox_coder import DistancePointBBoxCoder
from torch import Tensor, nn

from casvit_mm.export.detection_parts import unknown_part

__all__ = ['DeltaDecoder', 'DistanceDecoder', 'dense_decoders']

_MAX_LOG_SCALE = abs(math.log(16 / 1000))  # by which a box may grow or shrink, as in mmdet


class DeltaDecoder(nn.Module):
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

    def settings(self) -> dict[str, Any]:
        """Return what :mod:`casvit_mm.deploy.places` needs to do the same."""
        numbers = dict(means=self.means.tolist(), stds=self.stds.tolist())
        return dict(kind='deltas', clip=bool(self.clip_border), **numbers)

    def forward(self, priors: Tensor, deltas: Tensor, height: int, width: int) -> Tensor:
        # Float32 also where the network computes in less.
        deltas = deltas.float() * self.stds.float() + self.means.float()
        sides = priors[:, 2:] - priors[:, :2]  # (N, 2): width and height
        centres = (priors[:, :2] + priors[:, 2:]) * 0.5 + sides * deltas[:, :2]  # (N, 2)
        scales = deltas[:, 2:].clamp(-_MAX_LOG_SCALE, _MAX_LOG_SCALE).exp()
        halves = sides * scales * 0.5
        corners = torch.cat([centres - halves, centres + halves], 1)
        return _clipped(corners, height, width) if self.clip_border else corners


class DistanceDecoder(nn.Module):
    """Points and the distances to the sides of a box, as mmdet's DistancePointBBoxCoder has them.

    Args:
        clip_border: Keep boxes within the image.
        distances: Turns what the network predicts, ``(N, C)``, into distances in pixels to left,
            top, right and bottom, ``(N, 4)``.

    Shape:
        Points ``(N, 2)``, or anchors ``(N, 4)`` that stand for their centres, and predictions
        ``(N, C)`` -> boxes ``(N, 4)``.
    """

    def __init__(self, clip_border: bool, distances: nn.Module) -> None:
        super().__init__()
        self.clip_border = clip_border
        self.distances = distances

    def settings(self) -> dict[str, Any]:
        """Return what :mod:`casvit_mm.deploy.places` needs to do the same."""
        return dict(kind=_KINDS[type(self.distances)], clip=self.clip_border)

    def forward(self, priors: Tensor, predicted: Tensor, height: int, width: int) -> Tensor:
        points = (priors[:, :2] + priors[:, -2:]) * 0.5  # a point stays what it is
        distances = self.distances(predicted.float())
        corners = torch.cat([points - distances[:, :2], points + distances[:, 2:]], 1)
        return _clipped(corners, height, width) if self.clip_border else corners


class _Integral(nn.Module):
    """Distances as the means of distributions over whole numbers of strides, as GFL has them.

    Generalized Focal Loss (https://arxiv.org/abs/2006.04388, section 3.2).

    Shape:
        ``(N, 4 * n)`` -> ``(N, 4)``.
    """

    steps: Tensor

    def __init__(self, steps: Tensor, stride: int) -> None:
        super().__init__()
        self.register_buffer('steps', steps.detach().clone())  # (n,)
        self.stride = stride

    def forward(self, logits: Tensor) -> Tensor:
        chances = logits.unflatten(1, (4, -1)).softmax(2)  # (N, 4, n)
        return (chances * self.steps.float()).sum(2) * self.stride


class _CentreAndSize(nn.Module):
    """Distances from a centre and the logarithms of width and height, in strides, as YOLOX's.

    Shape:
        ``(N, 4)`` -> ``(N, 4)``.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, predicted: Tensor) -> Tensor:
        offsets, halves = predicted[:, :2], predicted[:, 2:].exp() * 0.5  # (N, 2)
        return torch.cat([halves - offsets, halves + offsets], 1) * self.stride


# What turns predictions into distances, as a description names it.
_KINDS = {nn.Identity: 'distances', _Integral: 'distributions', _CentreAndSize: 'centre_and_size'}


def _clipped(corners: Tensor, height: int, width: int) -> Tensor:
    """Return boxes ``(N, 4)`` within the image."""
    x1, y1, x2, y2 = corners.unbind(1)
    x1, x2 = x1.clamp(0, width), x2.clamp(0, width)
    y1, y2 = y1.clamp(0, height), y2.clamp(0, height)
    return torch.stack([x1, y1, x2, y2], 1)


def dense_decoders(head: Any) -> nn.ModuleList:
    """Return the decoder of each level of a dense head of mmdet.

    Raises:
        InputError: If the head codes its boxes in another way.
    """
    strides = [stride[0] for stride in head.prior_generator.strides]
    if isinstance(head, YOLOXHead):
        return nn.ModuleList(DistanceDecoder(False, _CentreAndSize(stride)) for stride in strides)
    coder = head.bbox_coder
    if type(coder) is not DistancePointBBoxCoder:
        return nn.ModuleList(DeltaDecoder(coder) for _ in strides)
    clip = coder.clip_border is not False
    if isinstance(head, GFLHead):
        steps = head.integral.project
        return nn.ModuleList(DistanceDecoder(clip, _Integral(steps, each)) for each in strides)
    return nn.ModuleList(DistanceDecoder(clip, nn.Identity()) for _ in strides)
