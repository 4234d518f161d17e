"""Token mixers: modules that let the tokens of a feature map see each other.

All share one contract, ``(B, C, H, W) -> (B, C, H, W)`` for any ``H`` and ``W``. One with an
inference form has ``fuse_norm(norm)``, which :func:`casvit_mm.fuse` calls.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.models.folding import norm_then_linear

__all__ = ['AdditiveTokenMixer', 'ChannelGate', 'SpatialGate']


class SpatialGate(nn.Module):
    """Weight each position by a sigmoid of its depthwise 3x3 neighbourhood.

    CAS-ViT (https://arxiv.org/abs/2408.03703), section 3.2: the spatial part of the mapping.

    Args:
        dim: Number of channels.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``; the gate itself is ``(B, 1, H, W)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim),
            nn.BatchNorm2d(dim),
            nn.ReLU(inplace=True),
            nn.Conv2d(dim, 1, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class ChannelGate(nn.Module):
    """Weight each channel by a sigmoid of a linear map of the mean over all positions.

    CAS-ViT (https://arxiv.org/abs/2408.03703), section 3.2: the channel part of the mapping.

    Args:
        dim: Number of channels.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``; the gate itself is ``(B, C, 1, 1)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(dim, dim, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class AdditiveTokenMixer(nn.Module):
    """Convolutional additive self-attention: gated query plus gated key, weighting the value.

    CAS-ViT (https://arxiv.org/abs/2408.03703), section 3.2, as the published code computes it:
    query and key each pass a spatial and then a channel gate, their sum passes a depthwise 3x3
    convolution and multiplies the value. No product of token matrices, no softmax, so the cost is
    linear in ``H * W``.

    Args:
        dim: Number of channels.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.gate_q = nn.Sequential(SpatialGate(dim), ChannelGate(dim))
        self.gate_k = nn.Sequential(SpatialGate(dim), ChannelGate(dim))
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.proj = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        return self.proj(self.dwconv(self.gate_q(q) + self.gate_k(k)) * v)

    def fuse_norm(self, norm: _BatchNorm) -> None:
        """Fold the BatchNorm before this mixer into the map to query, key and value, in place.

        Args:
            norm: In eval mode; left as it is.
        """
        # The padding of the gates comes after that map, so it sees the same values as before.
        self.qkv = norm_then_linear(norm, self.qkv)
