"""Backbone and neck of mmdet's detectors, in a form that every exporter can follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models import FPN, YOLOXPAFPN
from mmdet.models.necks import CSPNeXtPAFPN
from torch import Tensor, nn
from torch.nn import functional as F

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


class _UpsampleTo(nn.Module):
    """Nearest neighbours, at the sizes that are given beforehand.

    mmdet doubles the sides, which torch.export cannot see to be those of the map that it joins.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=self.sizes.pop(0), mode='nearest')


class _SizedPAFPN(nn.Module):
    """mmdet's PAFPN of RTMDet or YOLOX, whose maps going down take the size of those they join."""

    def __init__(self, neck: CSPNeXtPAFPN | YOLOXPAFPN) -> None:
        super().__init__()
        self.neck = neck
        neck.upsample = _UpsampleTo()

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        self.neck.upsample.sizes = [each.shape[2:] for each in reversed(features[:-1])]
        return self.neck(features)


def network_of(model: Any) -> dict[str, nn.Module]:
    """Return backbone and, where there is one, neck of a detector."""
    if not model.with_neck:
        return dict(backbone=model.backbone)
    neck = model.neck
    if isinstance(neck, FPN) and not neck.add_extra_convs:
        neck = _HalvingFPN(neck)
    elif isinstance(neck, (CSPNeXtPAFPN, YOLOXPAFPN)) and _doubles(neck.upsample):
        neck = _SizedPAFPN(neck)
    return dict(backbone=model.backbone, neck=neck)


def _doubles(upsample: nn.Upsample) -> bool:
    return upsample.mode == 'nearest' and upsample.size is None and upsample.scale_factor == 2


def features_of(network: nn.ModuleDict, x: Tensor) -> tuple[Tensor, ...]:
    """Return the maps that the heads read, of ``(B, 3, H, W)``."""
    features: Any = x
    for module in network.values():
        features = module(features)
    return features
