"""CAS-ViT's token mixers with query, key and value as maps of their own."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from casvit_mm.models.casvit import AdditiveTokenMixer
from casvit_mm.models.folding import is_plain_conv

__all__ = ['with_split_maps']


class _SplitMixer(nn.Module):
    """CAS-ViT's token mixer with a 1x1 convolution each for query, key and value."""

    def __init__(self, mixer: AdditiveTokenMixer) -> None:
        super().__init__()
        self.query, self.key, self.value = (_third(mixer.qkv, index) for index in range(3))
        del mixer.qkv
        self.mixer = mixer

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer.mix(self.query(x), self.key(x), self.value(x))


def _third(conv: nn.Conv2d, index: int) -> nn.Conv2d:
    """Return a convolution that computes a third of the output channels of ``conv``."""
    part = copy.deepcopy(conv)
    part.out_channels //= 3
    part.weight = nn.Parameter(conv.weight.chunk(3)[index])
    if conv.bias is not None:
        part.bias = nn.Parameter(conv.bias.chunk(3)[index])
    return part


def with_split_maps(module: nn.Module) -> nn.Module:
    """Return a copy in which query, key and value are not thirds of one map."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            # Not a subclass, whose forward may be another, nor one whose map was exchanged.
            if type(child) is AdditiveTokenMixer and is_plain_conv(child.qkv):
                setattr(parent, name, _SplitMixer(child))
    return module
