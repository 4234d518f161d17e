"""The inference form of CAS-ViT: how each of its modules is folded."""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.errors import InputError
from casvit_mm.models.casvit import CASViT, CASViTBlock, ChannelGate, SpatialGate
from casvit_mm.models.folding import (
    fold_sequential,
    is_foldable,
    is_plain_conv,
    norm_then_linear,
)

__all__ = ['fold_block_norms', 'fuse_backbone']


def fuse_backbone(backbone: CASViT) -> None:
    """Fold every norm but those of the outputs, in place; see :func:`casvit_mm.fuse`.

    Raises:
        InputError: If a BatchNorm cannot be folded, naming it.
    """
    for module in list(backbone.modules()):
        if isinstance(module, CASViTBlock):
            _fold_before_mixer(module)
            _fold_before_mlp(module)
        elif isinstance(module, SpatialGate):
            _exchange_conv(module.gate, 3, _WeightedSum)
        elif isinstance(module, ChannelGate):
            _exchange_conv(module.gate, 1, _PositionLinear)
        elif isinstance(module, nn.Sequential):
            fold_sequential(module)
    outputs = [f'norm{i}' for i in backbone.out_indices]
    for name, module in backbone.named_modules():
        if isinstance(module, _BatchNorm) and name not in outputs:
            raise InputError(
                f'cannot fold {name} of the backbone: it takes a BatchNorm with running '
                f'statistics right after a plain nn.Conv2d, got a {type(module).__name__}. '
                'Was a layer of CASViT exchanged?'
            )
    backbone.fused = True


def fold_block_norms(backbone: nn.Module) -> None:
    """Fold the norms before token mixers and MLPs into them, in place.

    A norm stays where what follows it takes none: a mixer without ``fuse_norm``, an exchanged
    layer. A model of another kind is left as it is.

    Args:
        backbone: In eval mode.
    """
    for block in backbone.modules():
        if isinstance(block, CASViTBlock):
            for fold in (_fold_before_mixer, _fold_before_mlp):
                with contextlib.suppress(InputError):
                    fold(block)


def _fold_before_mixer(block: CASViTBlock) -> None:
    """Fold the norm before the mixer into it, in place.

    Raises:
        InputError: If the mixer does not say how a norm folds into it, or its first layer was
            exchanged for one that takes none.
    """
    if is_foldable(block.norm1):
        mixer: Any = block.token_mixer
        # An inherited method knows nothing of a forward that reads the input elsewhere too.
        if 'fuse_norm' not in vars(type(mixer)):
            raise InputError(
                f'the token mixer {type(mixer).__name__} has no inference form. Give its class a '
                'method fuse_norm(norm) that folds the BatchNorm before it into what reads its '
                'input, as AdditiveTokenMixer does'
            )
        mixer.fuse_norm(block.norm1)
        block.norm1 = nn.Identity()


def _fold_before_mlp(block: CASViTBlock) -> None:
    """Fold the norm before the MLP into its first layer, in place.

    Raises:
        InputError: If that layer was exchanged for one that takes none.
    """
    if is_foldable(block.norm2):
        block.mlp.fc1 = norm_then_linear(block.norm2, block.mlp.fc1)
        block.norm2 = nn.Identity()


class _WeightedSum(nn.Module):
    """A 1x1 convolution to one channel as product and sum, which a compiler joins to the rest.

    Args:
        conv: Without bias; its weight is shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight  # (1, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Mixed precision casts what a convolution reads, but not the factors of a product.
        return (x * self.weight.to(x.dtype)).sum(1, keepdim=True)


class _PositionLinear(nn.Module):
    """A 1x1 convolution of a map of one position as the matrix product that it is.

    Args:
        conv: Without bias; its weight is shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight  # (C, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight.flatten(1))[..., None, None]


def _exchange_conv(gate: nn.Sequential, index: int, layer: type[nn.Module]) -> None:
    """Put ``layer`` in the place of the plain convolution without bias at ``index``."""
    conv = gate[index]
    if is_plain_conv(conv) and conv.bias is None:
        gate[index] = layer(conv)
