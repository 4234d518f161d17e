"""The form of a graph that engines on phones run in fewer operators; exact to rounding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from casvit_mm.export.graphs import Preprocess
from casvit_mm.export.head_maps import HeadMaps
from casvit_mm.export.split_maps import with_split_maps

__all__ = ['EXACT_PARTS', 'for_phones']

# Modules of the form for phones that stay in floating point, as converters name them.
EXACT_PARTS = '_NormalisingConv|_FourAxesGroupNorm|_OutputConv'


def for_phones(module: nn.Module) -> nn.Module:
    """Return a copy of a graph of fixed size for engines on phones.

    Channel order and normalisation become one 1x1 convolution, which a delegate takes as a whole.
    Token mixers get a convolution each for query, key and value, since engines would copy the
    thirds of a single one. Group normalisation keeps its four axes: reshaped to groups, as
    converters write it, it would split what a delegate runs at every head. SiLU becomes a product:
    torch.export takes that of half precision apart into casts, which split as well. The last
    convolutions of a detector's head are marked: 256 values are too few for boxes and scores.

    Args:
        module: In eval mode.
    """
    copied = with_split_maps(module)
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if type(child) is Preprocess and child.inside:
                setattr(parent, name, _NormalisingConv(child))
            elif type(child) is nn.GroupNorm:
                setattr(parent, name, _FourAxesGroupNorm(child))
            elif type(child) is nn.SiLU:
                setattr(parent, name, _ProductSiLU())
        if type(parent) is HeadMaps:
            _mark_outputs(parent.head)
    return copied


def _mark_outputs(head: nn.Module) -> None:
    """Mark the plain convolutions of a head of mmdet; the others are in ``ConvModule``."""
    for owner in (head, *head.children()):
        for name, child in owner._modules.items():
            if type(child) is nn.Conv2d:
                setattr(owner, name, _OutputConv(child))


class _OutputConv(nn.Module):
    """A convolution that stays in floating point.

    Shape:
        As the convolution.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _NormalisingConv(nn.Module):
    """What :class:`Preprocess` does inside of a file, by a convolution.

    Shape:
        As :class:`Preprocess`.
    """

    def __init__(self, plain: Preprocess) -> None:
        super().__init__()
        self.divisor = plain.divisor
        mean, std = plain.mean.flatten().double(), plain.std.flatten().double()
        order = [2, 1, 0] if plain.rgb else [0, 1, 2]  # of the image's channels
        self.conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[range(3), order, 0, 0] = (1 / std).float()
            self.conv.bias.copy_(-mean / std)  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image.float())
        height, width = x.shape[2:]
        padding = (0, -width % self.divisor, 0, -height % self.divisor)
        return F.pad(x, padding) if any(padding) else x


class _ProductSiLU(nn.Module):
    """SiLU in the precision of its input throughout."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()


class _FourAxesGroupNorm(nn.Module):
    """Group normalisation whose means over groups are means over positions and a 1x1 convolution.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        channels, size = norm.num_channels, norm.num_channels // norm.num_groups
        self.eps = norm.eps
        self.over_group = nn.Conv2d(channels, channels, 1, bias=False)
        groups = torch.arange(channels) // size
        same = (groups[:, None] == groups).float() / size  # (C, C)
        one = torch.ones(channels)
        weight, bias = (one, 0 * one) if norm.weight is None else (norm.weight, norm.bias)
        self.over_group.weight = nn.Parameter(same[:, :, None, None].to(weight), False)
        self.weight = nn.Parameter(weight.detach().view(1, -1, 1, 1).clone(), False)
        self.bias = nn.Parameter(bias.detach().view(1, -1, 1, 1).clone(), False)

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.over_group(x.mean((-2, -1), keepdim=True))
        variance = self.over_group((centred * centred).mean((-2, -1), keepdim=True))
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
