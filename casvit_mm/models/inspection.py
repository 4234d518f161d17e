"""Questions about a model that was built: where its CAS-ViT is, and how coarse its maps are."""

from __future__ import annotations

import torch
from torch import nn

from casvit_mm.models.casvit import CASViT

__all__ = ['feature_strides', 'find_casvit']


def find_casvit(model: nn.Module) -> CASViT | None:
    """Return the CAS-ViT that ``model`` is or holds, the first of several; None without one."""
    return next((m for m in model.modules() if isinstance(m, CASViT)), None)


@torch.no_grad()
def feature_strides(backbone: nn.Module) -> tuple[int, ...]:
    """Return the input pixels per position of each map of a backbone of any package.

    Args:
        backbone: In eval mode. Where it does not tell its ``out_strides``, it is tried.
    """
    told = getattr(backbone, 'out_strides', None)
    if told is not None:
        return tuple(told)
    side = 128
    return tuple(side // maps.shape[-1] for maps in backbone(torch.zeros(1, 3, side, side)))
