"""CAS-ViT, a four-stage convolutional vision transformer with an additive token mixer.

Paper: https://arxiv.org/abs/2408.03703. The published weights load through
:func:`casvit_mm.load_weights`, which knows how their keys map to the names used here.
Other mixers: :mod:`casvit_mm.models.token_mixers`. Inference: :mod:`casvit_mm.models.inference`.
"""

# Annotations are not postponed: torch.fx copies them into its graphs, where TorchScript reads them.

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from casvit_mm.models.architectures import (
    ARCHS,
    resolve_arch,
    resolve_out_indices,
    resolve_token_mixers,
    stage_stride,
)
from casvit_mm.models.checkpointing import checkpointed
from casvit_mm.models.folding import norm_then_linear
from casvit_mm.models.integrations import build_other_integration
from casvit_mm.models.mixer_registry import TOKEN_MIXERS, build_token_mixer
from casvit_mm.models.staged_backbone import StagedBackbone

__all__ = ['ARCHS', 'AdditiveTokenMixer', 'CASViT', 'CASViTBlock', 'ChannelGate', 'SpatialGate']


class SpatialGate(nn.Module):
    """Weight each position by a sigmoid of its depthwise 3x3 neighbourhood (section 3.2).

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


@TOKEN_MIXERS.register_module()
class AdditiveTokenMixer(nn.Module):
    """Convolutional additive self-attention: gated query plus gated key, weighting the value.

    Section 3.2, as the published code computes it: query and key each pass a spatial and then a
    channel gate, their sum passes a depthwise 3x3 convolution and multiplies the value. No product
    of token matrices, no softmax, so the cost is linear in ``H * W``. The options leave out one
    part each, for ablations; published weights fit only with all parts.

    Args:
        dim: Number of channels.
        spatial_gate: Whether query and key pass a spatial gate.
        channel_gate: Whether query and key pass a channel gate.
        dwconv: Whether the sum passes a convolution before it weights the value.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(
        self, dim: int, spatial_gate: bool = True, channel_gate: bool = True, dwconv: bool = True
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
        """Fold the BatchNorm before this mixer, in eval mode, into ``qkv``."""
        # The padding of the gates comes after that map, so it sees the same values as before.
        self.qkv = norm_then_linear(norm, self.qkv)


def _stem(in_channels: int, dim: int) -> nn.Sequential:
    """Two strided 3x3 convolutions: (B, in_channels, H, W) -> (B, dim, H/4, W/4)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, dim // 2, 3, stride=2, padding=1),
        nn.BatchNorm2d(dim // 2),
        nn.ReLU(),
        nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1),
        nn.BatchNorm2d(dim),
        nn.ReLU(),
    )


def _downsample(in_dim: int, dim: int) -> nn.Sequential:
    """One strided 3x3 convolution between stages: (B, in_dim, H, W) -> (B, dim, H/2, W/2)."""
    conv = nn.Conv2d(in_dim, dim, 3, stride=2, padding=1)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(dim)))


def _local_integration(kind: str, dim: int) -> nn.Sequential | None:
    """The integration subnet, section 3.3: 1x1, norm, depthwise 3x3, GELU, 1x1."""
    if kind != 'published':
        return build_other_integration(kind, dim)
    return nn.Sequential(
        nn.Conv2d(dim, dim, 1),
        nn.BatchNorm2d(dim),
        nn.Conv2d(dim, dim, 3, padding=1, groups=dim),
        nn.GELU(),
        nn.Conv2d(dim, dim, 1),
    )


class CASViTBlock(nn.Module):
    """Integration subnet, token mixer and MLP, each with a residual connection (section 3.3).

    Args:
        dim: Number of channels.
        mlp_ratio: Hidden width of the MLP as a multiple of ``dim``.
        drop_path: Probability that a sample skips the mixer, and independently the MLP. The
            integration subnet is never skipped.
        token_mixer: ``type`` and options of the mixer.
        local_integration: Kind of the integration subnet, as :class:`CASViT` takes it.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(
        self,
        dim: int,
        mlp_ratio: float,
        drop_path: float,
        token_mixer: Mapping[str, Any],
        local_integration: str,
    ) -> None:
        super().__init__()
        self.local_integration = _local_integration(local_integration, dim)
        self.norm1: nn.Module = nn.BatchNorm2d(dim)
        self.token_mixer = build_token_mixer(token_mixer, dim)
        self.norm2: nn.Module = nn.BatchNorm2d(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), use_conv=True)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        if self.local_integration is not None:
            x = x + self.local_integration(x)
        x = x + self.drop_path(self.token_mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


@MODELS.register_module()
class CASViT(StagedBackbone):
    """CAS-ViT as a multi-scale backbone (section 3).

    A stage hands its raw output to the next; the returned copy passes a BatchNorm of its own, as
    in the published detection and segmentation code. Only what the chosen outputs need is built,
    so every parameter gets a gradient whatever ``out_indices`` says.

    Args:
        arch: ``'xs'``, ``'s'``, ``'m'``, ``'t'`` (the largest), or a dict with ``depths`` and
            ``embed_dims``, one integer per stage. ``rcvit_l`` of the published segmentation code,
            which has no weights, is ``dict(depths=(4, 4, 8, 4), embed_dims=(96, 128, 256, 512))``.
        in_channels: Channels of the input image.
        out_indices: Stages whose output is returned, in this order; negative counts from the last.
        frozen_stages: -1 freezes nothing, 0 the stem, ``n`` the stem and the first ``n`` stages
            with the downsampling before each. Frozen parts take no gradient and stay in eval mode;
            the norms on the returned copies stay trainable.
        norm_eval: Keep every BatchNorm in eval mode while training, as the published detection and
            segmentation code does. Their weight and bias still train. Leave it off when training
            from scratch: untrained statistics make an eval BatchNorm the identity.
        drop_path_rate: Probability of skipping the last block; it grows linearly from 0 over all
            blocks.
        mlp_ratio: Hidden width of the MLPs as a multiple of the stage's channels.
        token_mixer: ``type``, a name in :data:`casvit_mm.models.TOKEN_MIXERS`, and options of the
            mixer in every block, or a sequence of one such dict per stage. None is the published
            one, ``dict(type='AdditiveTokenMixer')``.
        local_integration: The integration subnet: ``'published'``, ``'depthwise'`` (three depthwise
            convolutions with ReLU, as articles describe it; no published weights) or ``'none'``.
        with_cp: Gradient checkpointing: recompute blocks in the backward pass to save memory. Same
            gradients and running statistics.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` loads PATH strictly, by
            :func:`casvit_mm.load_weights`; with ``weights='ema'`` or ``'raw'`` that set of them.
            None keeps PyTorch's initialisation.

    Attributes:
        out_channels: Channels of each output.
        out_strides: Input pixels per output position, for each output.
        fused: Whether this is an inference form, made by :func:`casvit_mm.fuse`.

    Shape:
        ``(B, in_channels, H, W) -> tuple of (B, out_channels[i], H / s, W / s)`` with
        ``s = out_strides[i]``, rounded up. ``H`` and ``W`` may be odd and are 32 px or more.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        arch: str | dict = 'xs',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        drop_path_rate: float = 0.0,
        mlp_ratio: float = 4.0,
        token_mixer: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        local_integration: str = 'published',
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        depths, embed_dims = (resolve_arch(arch)[key] for key in ('depths', 'embed_dims'))
        self.out_indices = resolve_out_indices(out_indices, len(depths))
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate must be in [0, 1), got {drop_path_rate}')
        mixers = resolve_token_mixers(token_mixer, len(depths))
        num_stages = max(self.out_indices) + 1
        self.with_cp = with_cp
        self.out_channels = tuple(embed_dims[i] for i in self.out_indices)
        self.out_strides = tuple(stage_stride(i) for i in self.out_indices)

        self.stem = _stem(in_channels, embed_dims[0])
        self.downsamples = nn.ModuleList()
        for i in range(num_stages - 1):
            self.downsamples.append(_downsample(embed_dims[i], embed_dims[i + 1]))
        # The ramp runs over all blocks of the architecture, also where later stages are not built.
        step = drop_path_rate / max(sum(depths) - 1, 1)
        self.stages = nn.ModuleList()
        for i in range(num_stages):
            before = sum(depths[:i])
            blocks = [
                CASViTBlock(embed_dims[i], mlp_ratio, step * n, mixers[i], local_integration)
                for n in range(before, before + depths[i])
            ]
            self.stages.append(nn.Sequential(*blocks))
        for i in self.out_indices:
            self.add_module(f'norm{i}', nn.BatchNorm2d(embed_dims[i]))

        self._freeze(frozen_stages, norm_eval)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of the stages in ``out_indices``."""
        outs = self.forward_stages(x)
        # Not get_submodule, where torch 2.4 would break the compiled graph.
        return tuple(getattr(self, f'norm{i}')(outs[i]) for i in self.out_indices)

    def forward_stages(self, x: Tensor, num_stages: int | None = None) -> list[Tensor]:
        """Return what each stage hands to the next, without the norm of a returned copy.

        Args:
            x: Images.
            num_stages: Stop after so many; None runs all that ``out_indices`` needs.
        """
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages[:num_stages]):
            if i > 0:
                x = self.downsamples[i - 1](x)
            for block in stage.children():
                x = checkpointed(block, x) if self.with_cp and self.training else block(x)
            outs.append(x)
        return outs
