"""CAS-ViT, a four-stage convolutional vision transformer with an additive token mixer.

Paper: https://arxiv.org/abs/2408.03703. The published weights load through
:func:`casvit_mm.load_weights`, which knows how their keys map to the names used here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.utils import digit_version
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from casvit_mm.errors import InputError
from casvit_mm.models.backbone import Backbone
from casvit_mm.models.folding import fold_sequential, is_foldable, norm_then_linear
from casvit_mm.models.token_mixers import ChannelGate, SpatialGate, build_token_mixer

__all__ = ['ARCHS', 'CASViT', 'resolve_arch']

ARCHS = {
    # The letters follow the paper: T is the largest variant, not "tiny".
    'xs': dict(depths=(2, 2, 4, 2), embed_dims=(48, 56, 112, 220)),
    's': dict(depths=(3, 3, 6, 3), embed_dims=(48, 64, 128, 256)),
    'm': dict(depths=(3, 3, 6, 3), embed_dims=(64, 96, 192, 384)),
    't': dict(depths=(3, 3, 6, 3), embed_dims=(96, 128, 256, 512)),
}


def resolve_arch(arch: str | dict) -> dict:
    """Return ``depths`` and ``embed_dims`` of a named or custom architecture.

    Raises:
        ValueError: If the name is unknown, or the two sequences are not positive integers of
            equal number.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'unknown arch {arch!r}, expected one of {sorted(ARCHS)}')
        return ARCHS[arch]
    if set(arch) != {'depths', 'embed_dims'}:
        raise ValueError(f'arch needs exactly depths and embed_dims, got {sorted(arch)}')
    if len(arch['depths']) != len(arch['embed_dims']) or not arch['depths']:
        raise ValueError(f'depths and embed_dims must have one entry per stage, got {arch}')
    if any(not isinstance(n, int) or n < 1 for n in (*arch['depths'], *arch['embed_dims'])):
        raise ValueError(f'depths and embed_dims must be positive integers, got {arch}')
    return arch


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


def _local_integration(dim: int) -> nn.Sequential:
    """The integration subnet, section 3.3: 1x1, norm, depthwise 3x3, GELU, 1x1."""
    return nn.Sequential(
        nn.Conv2d(dim, dim, 1),
        nn.BatchNorm2d(dim),
        nn.Conv2d(dim, dim, 3, padding=1, groups=dim),
        nn.GELU(),
        nn.Conv2d(dim, dim, 1),
    )


def _depthwise_integration(dim: int) -> nn.Sequential:
    """The integration subnet as articles describe it: three depthwise 3x3, ReLU between them."""
    convs = [nn.Conv2d(dim, dim, 3, padding=1, groups=dim) for _ in range(3)]
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])


# Published weights exist for the first alone.
LOCAL_INTEGRATIONS = {
    'published': _local_integration,
    'depthwise': _depthwise_integration,
    'none': lambda dim: None,
}


class CASViTBlock(nn.Module):
    """Integration subnet, token mixer and MLP, each with a residual connection (section 3.3).

    Args:
        dim: Number of channels.
        mlp_ratio: Hidden width of the MLP as a multiple of ``dim``.
        drop_path: Probability that a sample skips the mixer, and independently the MLP. The
            integration subnet is never skipped.
        token_mixer: ``type`` and options of the mixer.
        local_integration: Key of ``LOCAL_INTEGRATIONS``.

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
        self.local_integration = LOCAL_INTEGRATIONS[local_integration](dim)
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

    def fuse(self) -> CASViTBlock:
        """Fold the norms before the mixer and the MLP into them, in place.

        Raises:
            InputError: If the mixer does not say how a norm folds into it, or a layer was exchanged
                for one that takes none.
        """
        if is_foldable(self.norm1):
            mixer: Any = self.token_mixer
            # An inherited method knows nothing of a forward that reads the input elsewhere too.
            if 'fuse_norm' not in vars(type(mixer)):
                raise InputError(
                    f'the token mixer {type(mixer).__name__} has no inference form. Give its '
                    'class a method fuse_norm(norm) that folds the BatchNorm before it into what '
                    'reads its input, as AdditiveTokenMixer does'
                )
            mixer.fuse_norm(self.norm1)
            self.norm1 = nn.Identity()
        if is_foldable(self.norm2):
            self.mlp.fc1 = norm_then_linear(self.norm2, self.mlp.fc1)
            self.norm2 = nn.Identity()
        return self


@contextmanager
def _without_running_stats(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise as it would, without moving its running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """Run ``block`` and recompute it in the backward pass instead of storing its activations."""
    if torch.compiler.is_compiling():
        # A compiled backward pass recomputes what it needs and leaves the statistics alone.
        return checkpoint(block, x, use_reentrant=False)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        # The second forward sees the same batch: counting it again would move the running
        # statistics twice per step.
        return nullcontext(), _without_running_stats(block)

    return checkpoint(block, x, use_reentrant=False, context_fn=contexts)


if digit_version(torch.__version__) < digit_version('2.11'):
    # Compiled by torch 2.4, they move twice; versions between the two were not tried. So the blocks
    # that are checkpointed stay uncompiled there.
    _checkpointed = torch.compiler.disable(_checkpointed)


@MODELS.register_module()
class CASViT(Backbone):
    """CAS-ViT as a multi-scale backbone (https://arxiv.org/abs/2408.03703, section 3).

    A stage hands its raw output to the next; the returned copy passes a BatchNorm of its own, as
    in the published detection and segmentation code. Only what the chosen outputs need is built,
    so every parameter gets a gradient whatever ``out_indices`` says.

    Args:
        arch: ``'xs'``, ``'s'``, ``'m'``, ``'t'`` (the largest), or a dict with ``depths`` and
            ``embed_dims``, one integer per stage.
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

    fused = False

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
        self.out_indices = _resolve_out_indices(out_indices, len(depths))
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate must be in [0, 1), got {drop_path_rate}')
        if local_integration not in LOCAL_INTEGRATIONS:
            raise ValueError(
                f'unknown local_integration {local_integration!r}, expected one of '
                f'{", ".join(LOCAL_INTEGRATIONS)}'
            )
        mixers = _mixer_of_each_stage(token_mixer, len(depths))
        num_stages = max(self.out_indices) + 1
        if not -1 <= frozen_stages <= num_stages:
            raise ValueError(
                f'frozen_stages must be in [-1, {num_stages}], the stages that out_indices '
                f'{tuple(out_indices)} needs, got {frozen_stages}'
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.out_channels = tuple(embed_dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)

        # The ramp runs over all blocks of the architecture, also where later stages are not built.
        step = drop_path_rate / max(sum(depths) - 1, 1)
        self.stem = _stem(in_channels, embed_dims[0])
        self.downsamples = nn.ModuleList(
            _downsample(embed_dims[i], embed_dims[i + 1]) for i in range(num_stages - 1)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    CASViTBlock(
                        embed_dims[i],
                        mlp_ratio,
                        step * (sum(depths[:i]) + j),
                        mixers[i],
                        local_integration,
                    )
                    for j in range(depths[i])
                )
            )
            for i in range(num_stages)
        )
        for i in self.out_indices:
            self.add_module(f'norm{i}', nn.BatchNorm2d(embed_dims[i]))

        for module in self._frozen_modules():
            module.requires_grad_(False)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        n = self.frozen_stages
        return [self.stem, *self.stages[:n], *self.downsamples[: max(n - 1, 0)]]

    def train(self, mode: bool = True) -> CASViT:
        """Set the mode; frozen stages, and all norms if ``norm_eval``, stay in eval.

        Raises:
            InputError: If an inference form is to be trained.
        """
        if mode and self.fused:
            raise InputError(
                'an inference form made by casvit_mm.fuse cannot be trained: its BatchNorms are '
                'gone. Train the model it was made from, and fuse that one again'
            )
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def fuse(self) -> CASViT:
        """Fold every norm but those of the outputs, in place; see :func:`casvit_mm.fuse`.

        Raises:
            InputError: If a BatchNorm cannot be folded, naming it.
        """
        for module in list(self.modules()):
            if isinstance(module, CASViTBlock | SpatialGate | ChannelGate):
                module.fuse()
            elif isinstance(module, nn.Sequential):
                fold_sequential(module)
        outputs = [f'norm{i}' for i in self.out_indices]
        for name, module in self.named_modules():
            if isinstance(module, _BatchNorm) and name not in outputs:
                raise InputError(
                    f'cannot fold {name} of the backbone: it takes a BatchNorm with running '
                    f'statistics right after a plain nn.Conv2d, got a {type(module).__name__}. '
                    'Was a layer of CASViT exchanged?'
                )
        self.fused = True
        return self

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
                x = _checkpointed(block, x) if self.with_cp and self.training else block(x)
            outs.append(x)
        return outs

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return how deep a parameter lies, as mmpretrain's backbones do.

        The stem is layer 0 and each block a layer of its own. A downsampling counts with the block
        after it, an output norm with the last block of its stage, and what follows the backbone
        (neck, heads) is the last layer.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What the names of this backbone's parameters begin with there.

        Returns:
            The depth, and the number of layers.
        """
        depths = [len(list(stage.children())) for stage in self.stages]
        num_layers = sum(depths) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        part, *numbers = param_name.removeprefix(prefix).split('.')
        if part == 'stem':
            return 0, num_layers
        if part == 'stages':
            stage, block = map(int, numbers[:2])
        elif part == 'downsamples':
            stage, block = int(numbers[0]) + 1, 0
        else:
            stage = int(part.removeprefix('norm'))
            block = depths[stage] - 1
        return sum(depths[:stage]) + block + 1, num_layers


def _mixer_of_each_stage(
    token_mixer: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, num_stages: int
) -> list[Mapping[str, Any]]:
    """Return ``type`` and options of the token mixer of each stage."""
    if token_mixer is None:
        token_mixer = dict(type='AdditiveTokenMixer')
    if isinstance(token_mixer, Mapping):
        return [token_mixer] * num_stages
    if isinstance(token_mixer, str) or not all(isinstance(one, Mapping) for one in token_mixer):
        raise ValueError(
            f"token_mixer must be dict(type='...') or a sequence of them, got {token_mixer!r}"
        )
    if len(token_mixer) != num_stages:
        raise ValueError(
            f'token_mixer names {len(token_mixer)} mixers for {num_stages} stages; it takes one '
            'for each, also for stages that out_indices leaves out, or one for all'
        )
    return list(token_mixer)


def _resolve_out_indices(out_indices: Sequence[int], num_stages: int) -> tuple[int, ...]:
    """Return ``out_indices`` with negative entries counted from the end."""
    if isinstance(out_indices, int) or not out_indices:
        raise ValueError(f'out_indices must be a sequence of stage numbers, got {out_indices!r}')
    if any(not -num_stages <= i < num_stages for i in out_indices):
        raise ValueError(
            f'out_indices must be in [{-num_stages}, {num_stages - 1}], got {tuple(out_indices)}'
        )
    resolved = tuple(i % num_stages for i in out_indices)
    if len(set(resolved)) != len(resolved):
        raise ValueError(f'out_indices names a stage twice: {tuple(out_indices)}')
    return resolved
