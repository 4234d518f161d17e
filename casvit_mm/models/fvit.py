"""FViT, a plain vision transformer whose self-attention is Fastformer's, linear in the tokens.

Fast Vision Transformer via Additive Attention (https://doi.org/10.1109/CAI59869.2024.00113). No
published weights exist.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from timm.layers import DropPath, Mlp, resample_abs_pos_embed
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.models.backbone import Backbone
from casvit_mm.models.token_mixers import FastformerAttention

__all__ = ['FVIT_ARCHS', 'FViT']

FVIT_ARCHS: dict[str, dict[str, int]] = {
    'b16': dict(patch_size=16, embed_dim=768, depth=12, num_heads=12, mlp_dim=3072),
    'b32': dict(patch_size=32, embed_dim=768, depth=12, num_heads=12, mlp_dim=3072),
}
_OUT_TYPES = ('featmap', 'cls_token')


def _resolve_arch(arch: str | dict) -> dict[str, int]:
    """Return the sizes of a named or custom architecture."""
    if isinstance(arch, str):
        if arch not in FVIT_ARCHS:
            raise ValueError(f'unknown arch {arch!r}, expected one of {sorted(FVIT_ARCHS)}')
        return FVIT_ARCHS[arch]
    needed = FVIT_ARCHS['b16']
    if set(arch) != set(needed):
        raise ValueError(f'arch needs exactly {", ".join(needed)}, got {sorted(arch)}')
    return arch


class FViTBlock(nn.Module):
    """Fastformer attention and MLP, each behind a LayerNorm and with a residual connection.

    Args:
        dim: Number of channels.
        num_heads: Divides ``dim``.
        mlp_dim: Hidden width of the MLP.
        drop_rate: Dropout after the attention and after both layers of the MLP.
        drop_path: Probability that a sample skips the attention, and independently the MLP.

    Shape:
        ``(B, N, C) -> (B, N, C)``.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_dim: int, drop_rate: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = FastformerAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, mlp_dim, drop=drop_rate)
        self.drop = nn.Dropout(drop_rate)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.drop(self.attention(self.norm1(x))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


@MODELS.register_module()
class FViT(Backbone):
    """FViT as a classifier's or a single-scale backbone; one LayerNorm at its end.

    Detectors and segmentors make four scales of its map by
    :class:`~casvit_mm.models.SimpleFeaturePyramid`.

    Args:
        arch: ``'b16'``, ``'b32'``, or a dict with ``patch_size``, ``embed_dim``, ``depth``,
            ``num_heads`` and ``mlp_dim``.
        img_size: Side in pixels of the square that the position embedding is kept for. Images of
            other sizes get it interpolated, so a detector keeps the value of its pretraining.
        in_channels: Channels of the input image.
        out_type: ``'featmap'`` returns the map of the patches, ``'cls_token'`` the class token.
        drop_rate: Dropout after the position embedding, the attentions and the layers of the MLPs.
        drop_path_rate: Probability of skipping the last block; it grows linearly from 0.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` loads PATH strictly, by
            :func:`casvit_mm.load_weights`. None draws weights with a deviation of 0.02.

    Attributes:
        out_channels: Channels of each output; one.
        out_strides: Input pixels per output position; one.

    Shape:
        ``(B, in_channels, H, W) -> tuple of one (B, embed_dim, H / patch_size, W / patch_size)``,
        or of one ``(B, embed_dim)``. ``H`` and ``W`` are multiples of ``patch_size``.

    Raises:
        ValueError: If an argument is out of its range; :class:`~casvit_mm.InputError` if an image
            does not fit the patches.
    """

    def __init__(
        self,
        arch: str | dict = 'b16',
        img_size: int = 384,
        in_channels: int = 3,
        out_type: str = 'featmap',
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        sizes = _resolve_arch(arch)
        patch_size, dim, depth = (sizes[key] for key in ('patch_size', 'embed_dim', 'depth'))
        if img_size % patch_size:
            raise ValueError(f'img_size {img_size} is no multiple of the patch size {patch_size}')
        if out_type not in _OUT_TYPES:
            raise ValueError(f'unknown out_type {out_type!r}, expected one of {_OUT_TYPES}')
        for name, rate in (('drop_rate', drop_rate), ('drop_path_rate', drop_path_rate)):
            if not 0 <= rate < 1:
                raise ValueError(f'{name} must be in [0, 1), got {rate}')
        self.out_type = out_type
        self.patch_size = patch_size
        self.grid = img_size // patch_size
        self.out_channels = (dim,)
        self.out_strides = (patch_size,)

        self.stem = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))
        self.drop = nn.Dropout(drop_rate)
        step = drop_path_rate / max(depth - 1, 1)
        self.blocks = nn.ModuleList(
            FViTBlock(dim, sizes['num_heads'], sizes['mlp_dim'], drop_rate, step * i)
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self._draw_weights()

    def _draw_weights(self) -> None:
        for values in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(values, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the map of the patches or the class token.

        Raises:
            InputError: If the image is no whole number of patches.
        """
        height, width = x.shape[2:]
        if height % self.patch_size or width % self.patch_size:
            raise InputError(
                f'FViT: images of {height}x{width} pixels are no whole number of patches of '
                f'{self.patch_size}x{self.patch_size}. Pad them: '
                f'data_preprocessor.pad_size_divisor={self.patch_size} (mmdet), ResizeToMultiple '
                '(mmseg); or crop to a multiple'
            )
        patches = self.stem(x)  # (B, C, H / p, W / p)
        x = torch.cat(
            (self.cls_token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)), dim=1
        )
        # Antialiasing would keep the model from ONNX.
        x = x + resample_abs_pos_embed(
            self.pos_embed, list(patches.shape[2:]), [self.grid, self.grid], antialias=False
        )
        x = self.drop(x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if self.out_type == 'cls_token':
            return (x[:, 0],)
        return (x[:, 1:].transpose(1, 2).reshape(patches.shape),)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return how deep a parameter lies, as :meth:`casvit_mm.CASViT.get_layer_depth` does.

        The embeddings are layer 0 and each block a layer of its own; the norm counts with the last
        block, and what follows the backbone is the last layer.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What the names of this backbone's parameters begin with there.

        Returns:
            The depth, and the number of layers.
        """
        num_layers = len(self.blocks) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        part, *rest = param_name.removeprefix(prefix).split('.')
        if part == 'blocks':
            return int(rest[0]) + 1, num_layers
        return (num_layers - 2 if part == 'norm' else 0), num_layers
