"""Token mixers that may take the place of CAS-ViT's own, which is in :mod:`.casvit`.

The contract of all is told in :mod:`casvit_mm.models.mixer_registry`.
"""

from __future__ import annotations

import torch
from timm.models.metaformer import Pooling
from timm.models.mobilevit import LinearSelfAttention
from timm.models.swiftformer import EfficientAdditiveAttention
from timm.models.vision_transformer import Attention
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.models.casvit import AdditiveTokenMixer, ChannelGate, SpatialGate
from casvit_mm.models.folding import norm_then_linear
from casvit_mm.models.mixer_registry import TOKEN_MIXERS, build_token_mixer

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


def _check_heads(dim: int, num_heads: int) -> None:
    """Refuse heads that would differ in width."""
    if num_heads < 1 or dim % num_heads:
        fitting = [n for n in range(1, min(dim, 16) + 1) if dim % n == 0]
        raise ValueError(f'num_heads must divide the {dim} channels, got {num_heads}; {fitting} do')


def _to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, N, C)


def _to_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(like.shape)  # (B, N, C) -> (B, C, H, W)


@TOKEN_MIXERS.register_module()
class GateProductTokenMixer(nn.Module):
    """The product of a channel gate of the query and a spatial gate of the key weights the value.

    The product is the articles', ``Sigmoid(channel(q)) * Sigmoid(spatial(k))`` as CAS-ViT's
    similarity; what they leave open, the layers of the gates, is the published code's. That code
    computes :class:`AdditiveTokenMixer`, and no published weights fit this one.

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
