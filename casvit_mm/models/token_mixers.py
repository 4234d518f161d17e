"""Token mixers: modules that let the tokens of a feature map see each other.

All share one contract, ``(B, C, H, W) -> (B, C, H, W)`` for any ``H`` and ``W``, and are built as
``Mixer(dim, **options)``. One of your own joins by ``@TOKEN_MIXERS.register_module()``. One with an
inference form has ``fuse_norm(norm)``, which :func:`casvit_mm.fuse` calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import Registry
from timm.models.metaformer import Pooling
from timm.models.mobilevit import LinearSelfAttention
from timm.models.swiftformer import EfficientAdditiveAttention
from timm.models.vision_transformer import Attention
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.models.folding import is_plain_conv, norm_then_linear

__all__ = [
    'TOKEN_MIXERS',
    'AdditiveTokenMixer',
    'ChannelGate',
    'EfficientAdditiveTokenMixer',
    'FastformerAttention',
    'FastformerTokenMixer',
    'GateProductTokenMixer',
    'MultiHeadTokenMixer',
    'PoolingTokenMixer',
    'SeparableTokenMixer',
    'SpatialGate',
    'build_token_mixer',
]

TOKEN_MIXERS = Registry('token mixer', scope='casvit_mm')


def build_token_mixer(cfg: Mapping[str, Any], dim: int) -> nn.Module:
    """Build a registered token mixer and try it on a small map.

    Args:
        cfg: ``type``, a name in :data:`TOKEN_MIXERS`, and the options of that class.
        dim: Number of channels.

    Raises:
        ValueError: If there is no mixer of that name, or it changes the shape of its input.
    """
    options = dict(cfg)
    name = options.pop('type', None)
    known = sorted(TOKEN_MIXERS.module_dict)
    if name not in known:
        raise ValueError(
            f'unknown token mixer {name!r}, expected one of {", ".join(known)}; one of your own '
            'needs @TOKEN_MIXERS.register_module() and its module in custom_imports'
        )
    mixer = TOKEN_MIXERS.module_dict[name](dim, **options)
    x = torch.zeros(1, dim, 5, 7)
    with torch.no_grad():
        out = mixer.eval()(x)
    if out.shape != x.shape:
        raise ValueError(
            f'token mixer {name} makes {tuple(out.shape)} of {tuple(x.shape)}; it must keep the '
            'shape (B, C, H, W), since the block adds its output to its input'
        )
    return mixer.train()


def _check_heads(dim: int, num_heads: int) -> None:
    """Refuse heads that would differ in width."""
    if num_heads < 1 or dim % num_heads:
        fitting = [n for n in range(1, min(dim, 16) + 1) if dim % n == 0]
        raise ValueError(f'num_heads must divide the {dim} channels, got {num_heads}; {fitting} do')


def _to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, N, C)


def _to_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(like.shape)  # (B, N, C) -> (B, C, H, W)


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

    def fuse(self) -> None:
        """Compute the weight of a position without a convolution of its own, in place."""
        _exchange_conv(self.gate, 3, _WeightedSum)


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

    def fuse(self) -> None:
        """Compute the weights of the channels by a matrix product, in place."""
        _exchange_conv(self.gate, 1, _PositionLinear)


@TOKEN_MIXERS.register_module()
class AdditiveTokenMixer(nn.Module):
    """Convolutional additive self-attention: gated query plus gated key, weighting the value.

    CAS-ViT (https://arxiv.org/abs/2408.03703), section 3.2, as the published code computes it:
    query and key each pass a spatial and then a channel gate, their sum passes a depthwise 3x3
    convolution and multiplies the value. No product of token matrices, no softmax, so the cost is
    linear in ``H * W``.

    The options leave out one part each, for ablations; published weights fit only with all parts.

    Args:
        dim: Number of channels.
        spatial_gate: Whether query and key pass a spatial gate.
        channel_gate: Whether query and key pass a channel gate.
        dwconv: Whether the sum passes a convolution before it weights the value.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(
        self,
        dim: int,
        spatial_gate: bool = True,
        channel_gate: bool = True,
        dwconv: bool = True,
    ) -> None:
        super().__init__()
        gates = [SpatialGate] * spatial_gate + [ChannelGate] * channel_gate
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.gate_q = nn.Sequential(*(gate(dim) for gate in gates))
        self.gate_k = nn.Sequential(*(gate(dim) for gate in gates))
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim) if dwconv else nn.Identity()
        self.proj = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)  # by name, for torch.fx cannot unpack into a call
        return self.mix(q, k, v)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Weight the value by query and key, each ``(B, C, H, W)``."""
        return self.proj(self.dwconv(self.gate_q(q) + self.gate_k(k)) * v)

    def fuse_norm(self, norm: _BatchNorm) -> None:
        """Fold the BatchNorm before this mixer into the map to query, key and value, in place.

        Args:
            norm: In eval mode; left as it is.
        """
        # The padding of the gates comes after that map, so it sees the same values as before.
        self.qkv = norm_then_linear(norm, self.qkv)


@TOKEN_MIXERS.register_module()
class GateProductTokenMixer(nn.Module):
    """The product of a channel gate of the query and a spatial gate of the key weights the value.

    CAS-ViT's similarity as articles on it write it, ``Sigmoid(channel(q)) * Sigmoid(spatial(k))``.
    The published code computes :class:`AdditiveTokenMixer`; no published weights fit this one.

    Args:
        dim: Number of channels.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.gate_q = ChannelGate(dim).gate
        self.gate_k = SpatialGate(dim).gate
        self.proj = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        score = self.gate_q(q) * self.gate_k(k)  # (B, C, 1, 1) * (B, 1, H, W)
        return self.proj(score * v)

    def fuse_norm(self, norm: _BatchNorm) -> None:
        """Fold the BatchNorm before this mixer into the map to query, key and value, in place.

        Args:
            norm: In eval mode; left as it is.
        """
        self.qkv = norm_then_linear(norm, self.qkv)


@TOKEN_MIXERS.register_module()
class MultiHeadTokenMixer(nn.Module):
    """Multi-head self-attention over all positions, quadratic in ``H * W``.

    ViT's (https://arxiv.org/abs/2010.11929), by timm. No position embedding: the depthwise
    convolutions around it tell positions apart.

    Args:
        dim: Number of channels.
        num_heads: Divides ``dim``; 4 divides every width of CAS-ViT.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int = 4) -> None:
        super().__init__()
        _check_heads(dim, num_heads)
        self.attention = Attention(dim, num_heads, qkv_bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return _to_map(self.attention(_to_tokens(x)), x)


@TOKEN_MIXERS.register_module()
class SeparableTokenMixer(nn.Module):
    """MobileViTv2's separable self-attention (https://arxiv.org/abs/2206.02680), by timm.

    One logit per position; the keys, summed by its softmax, weight the rectified values. It runs
    over all positions at once, as with patches of one pixel.

    Args:
        dim: Number of channels.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = LinearSelfAttention(dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).unsqueeze(2)  # (B, C, 1, N)
        return self.attention(tokens).reshape(x.shape)


@TOKEN_MIXERS.register_module()
class EfficientAdditiveTokenMixer(nn.Module):
    """SwiftFormer's efficient additive attention (https://arxiv.org/abs/2303.15446), by timm.

    The normalised queries are summed to one global query, which multiplies every key.

    Args:
        dim: Number of channels.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = EfficientAdditiveAttention(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)


class FastformerAttention(nn.Module):
    """Fastformer's additive attention (https://arxiv.org/abs/2108.09084, section 3) on tokens.

    A softmax over the tokens sums the queries to one global query, which multiplies every key; the
    products are summed to one global key in the same manner, which multiplies every value. The
    value is the query, and the query is added once more at the end. A logit comes from the whole
    query, one for each head.

    Args:
        dim: Number of channels.
        num_heads: Divides ``dim``.

    Shape:
        ``(B, N, C) -> (B, N, C)``.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        _check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.query = nn.Linear(dim, dim)
        self.query_att = nn.Linear(dim, num_heads)
        self.key = nn.Linear(dim, dim)
        self.key_att = nn.Linear(dim, num_heads)
        self.transform = nn.Linear(dim, dim)

    def _pool(self, tokens: Tensor, logits: Tensor) -> Tensor:
        """Sum the tokens by the softmax of their logits: (B, N, C), (B, N, heads) -> (B, 1, C)."""
        heads = tokens.unflatten(2, (self.num_heads, -1))  # (B, N, heads, width)
        # Weights of many tokens are too small for half precision.
        exact = torch.promote_types(logits.dtype, torch.float32)
        weights = (logits * self.scale).softmax(1, dtype=exact).to(tokens.dtype)
        pooled = weights.transpose(1, 2).unsqueeze(2) @ heads.transpose(1, 2)
        return pooled.flatten(1).unsqueeze(1)  # (B, heads, 1, width) -> (B, 1, C)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.query(x), self.key(x)
        product = key * self._pool(query, self.query_att(query))
        return query + self.transform(query * self._pool(product, self.key_att(product)))


@TOKEN_MIXERS.register_module()
class FastformerTokenMixer(nn.Module):
    """:class:`FastformerAttention` over all positions of a map, each normalised over its channels.

    As in Fastformer and in ViT, whose blocks begin with a LayerNorm, and not only CAS-ViT's
    BatchNorm before it: the attention is cubic in its input, and in eval mode a single bright
    image would grow without bound from block to block.

    Args:
        dim: Number of channels.
        num_heads: Divides ``dim``; 4 divides every width of CAS-ViT.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = FastformerAttention(dim, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        return _to_map(self.attention(self.norm(_to_tokens(x))), x)


@TOKEN_MIXERS.register_module()
class PoolingTokenMixer(nn.Module):
    """Average pooling minus identity, the floor that any mixer has to beat.

    PoolFormer's mixer (https://arxiv.org/abs/2111.11418, section 3.2), by timm: no parameters, no
    interaction beyond a ``kernel_size`` window, so what it scores is due to the block around it.

    Args:
        dim: Number of channels; kept, since every mixer is built alike.
        kernel_size: Side of the window in pixels, odd.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.

    Raises:
        ValueError: If ``kernel_size`` is even: the output would be larger than the input.
    """

    def __init__(self, dim: int, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}')
        self.pool = Pooling(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)
