"""Several scales of the one map of a plain transformer."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

__all__ = ['SimpleFeaturePyramid']

_STRIDES = (4, 8, 16, 32)


def _rescale(dim: int, factor: float) -> tuple[nn.Sequential, int]:
    """Layers that enlarge a map by ``factor``, a power of two; and the channels that remain."""
    layers: list[nn.Module] = []
    while factor > 1:
        if layers:
            layers += [LayerNorm2d(dim), nn.GELU()]
        layers.append(nn.ConvTranspose2d(dim, dim // 2, 2, stride=2))
        factor, dim = factor / 2, dim // 2
    if factor < 1:
        layers.append(nn.MaxPool2d(round(1 / factor)))
    return nn.Sequential(*layers), dim


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """ViTDet's simple feature pyramid (https://arxiv.org/abs/2203.16527, section 3).

    Makes strides 4, 8, 16 and 32 from one map, by transposed convolutions or max pooling, each
    followed by a 1x1 and a 3x3 convolution. For mmdet and mmseg alike; mmdet has it outside its
    package only, and mmseg's ``Feature2Pyramid`` ends before the convolutions.

    Args:
        in_channels: Channels of the map.
        in_stride: Image pixels per position of the map: 4, 8, 16 or 32.
        out_channels: Channels of each level.
        num_outs: Levels; beyond four, every second position of the one before.
        init_cfg: How to initialise; None keeps PyTorch's.

    Shape:
        Tuple of one ``(B, in_channels, H / in_stride, W / in_stride)`` ``->`` tuple of ``num_outs``
        ``(B, out_channels, H / s, W / s)`` with ``s = 4, 8, 16, 32, ...``.

    Raises:
        ValueError: If ``in_stride`` or ``num_outs`` is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        in_stride: int,
        out_channels: int = 256,
        num_outs: int = 4,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if in_stride not in _STRIDES:
            raise ValueError(f'in_stride must be one of {_STRIDES}, got {in_stride}')
        if num_outs < len(_STRIDES):
            raise ValueError(f'num_outs must be {len(_STRIDES)} or more, got {num_outs}')
        self.num_outs = num_outs
        self.levels = nn.ModuleList()
        for stride in _STRIDES:
            rescale, dim = _rescale(in_channels, in_stride / stride)
            self.levels.append(
                nn.Sequential(
                    *rescale,
                    nn.Conv2d(dim, out_channels, 1, bias=False),
                    LayerNorm2d(out_channels),
                    nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                    LayerNorm2d(out_channels),
                )
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the levels, the finest first."""
        outs = [level(inputs[-1]) for level in self.levels]
        while len(outs) < self.num_outs:
            outs.append(max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)
