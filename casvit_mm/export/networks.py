"""Backbone and neck of mmdet's detectors, in a form that every exporter can follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models import FPN
from torch import Tensor, nn

__all__ = ['features_of', 'network_of']


class _HalvingFPN(nn.Module):
    """An FPN whose extra levels are every other position of the level before.

    mmdet computes them by max pooling with a window of one position and stride 2, of which
    torch.export would conclude that sides are always even, or always odd.
    """

    def __init__(self, neck: FPN) -> None:
        super().__init__()
        self.num_extra = neck.num_outs - (neck.backbone_end_level - neck.start_level)
        neck.num_outs -= self.num_extra
        self.neck = neck

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        levels = list(self.neck(features))
        for _ in range(self.num_extra):
            levels.append(levels[-1][..., ::2, ::2])
        return tuple(levels)


def network_of(model: Any) -> dict[str, nn.Module]:
    """Return backbone and, where there is one, neck of a detector."""
    if not model.with_neck:
        return dict(backbone=model.backbone)
    neck = model.neck
    if isinstance(neck, FPN) and not neck.add_extra_convs:
        neck = _HalvingFPN(neck)
    return dict(backbone=model.backbone, neck=neck)


def features_of(network: nn.ModuleDict, x: Tensor) -> tuple[Tensor, ...]:
    """Return the maps that the heads read, of ``(B, 3, H, W)``."""
    features: Any = x
    for module in network.values():
        features = module(features)
    return features
