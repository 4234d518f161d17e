"""CAS-ViT as a model of timm: ``timm.create_model('casvit_s')`` after ``import casvit_mm``.

The backbone is the one of :mod:`casvit_mm.models.casvit`; here are only timm's head, its names and
its way to ask for weights. A state dict has the keys of our mmpretrain classifiers
(``backbone.*``, ``head.fc.*``), so that either loads the other's files.
"""

# Annotations are not postponed: torch.fx copies them into its graphs, where TorchScript reads them.

import copy
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ClassifierHead
from timm.models import (
    adapt_input_conv,
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
)
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.models.architectures import ARCHS, resolve_arch, stage_stride
from casvit_mm.models.casvit import CASViT
from casvit_mm.weights.matching import load_weights
from casvit_mm.weights.official_keys import as_classifier, rename_official_keys

__all__ = ['TimmCASViT', 'default_cfgs']


class TimmCASViT(nn.Module):
    """CAS-ViT with timm's classifier, and with the methods that timm asks of a model.

    Args:
        arch: As :class:`~casvit_mm.CASViT` takes it.
        in_chans: Channels of the input image.
        num_classes: Number of classes; 0 leaves out the classifier.
        global_pool: Pooling before the classifier by timm's name; ``''`` leaves the feature map.
        drop_rate: Dropout before the classifier.
        drop_path_rate: As :class:`~casvit_mm.CASViT` takes it.
        dense: Have a norm for the output of every stage, as detectors and segmentors do, and no
            classifier; what ``features_only=True`` builds. Off: the classifier's norm alone.
        device: Where the weights lie.
        dtype: Their type.

    Shape:
        ``(B, in_chans, H, W) -> (B, num_classes)``.
    """

    pretrained_cfg: dict[str, Any]  # set by timm before it asks for weights

    def __init__(
        self,
        arch: str | dict = 'xs',
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = 'avg',
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        dense: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.dense = dense
        self.in_chans = in_chans
        self.num_classes = 0 if dense else num_classes
        out_indices = (0, 1, 2, 3) if dense else (3,)
        self.backbone = CASViT(
            arch, in_channels=in_chans, out_indices=out_indices, drop_path_rate=drop_path_rate
        )
        dims = resolve_arch(arch)['embed_dims']
        self.feature_info = [
            dict(num_chs=dim, reduction=stage_stride(i), module=f'backbone.stages.{i}')
            for i, dim in enumerate(dims)
        ]
        self.num_features = self.head_hidden_size = dims[-1]
        self.head = ClassifierHead(dims[-1], self.num_classes, global_pool, drop_rate)
        self._register_load_state_dict_pre_hook(self._take_official_keys)
        self.to(device=device, dtype=dtype)

    def _take_official_keys(self, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
        """Rename a state dict of the published code in place, before it is loaded."""
        if not prefix:
            state = as_classifier(rename_official_keys(state_dict), self)
            state_dict.clear()
            state_dict.update(state)

    def load_pretrained(self, path: str | Path) -> None:
        """Load a file, fitted to this model where it was asked to differ from what it holds.

        What the file holds is told by ``pretrained_cfg``. With other channels, the stem is fitted
        by timm's rule; with another number of classes, the classifier keeps its initial values.

        Raises:
            InputError: If the file cannot be read, has no classifier where this model has one, or
                does not fit what ``pretrained_cfg`` tells.
        """
        cfg = self.pretrained_cfg
        in_chans, num_classes = cfg['input_size'][0], cfg['num_classes']
        other_classes = self.num_classes not in (0, num_classes)
        source = self
        if other_classes or self.in_chans != in_chans:
            classes = num_classes if self.num_classes else 0
            source = TimmCASViT(self.arch, in_chans, classes, dense=self.dense)
        report = load_weights(source if source.num_classes else source.backbone, path)
        if source.num_classes and 'head.fc.weight' not in report.matched:
            raise InputError(
                f'{str(path)!r} holds no classifier; take the backbone alone with num_classes=0, '
                'or its feature maps with features_only=True'
            )
        MMLogger.get_current_instance().info(f'weights of {path}: {report.summary}')
        if source is self:
            return
        state, own = source.state_dict(), self.state_dict()
        stem = f'{cfg["first_conv"]}.weight'
        state[stem] = adapt_input_conv(self.in_chans, state[stem])
        if other_classes:
            state.update({key: own[key] for key in own if key.startswith('head.')})
        self.load_state_dict(state)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return a function from the name of a parameter or module to the number of its layer.

        Args:
            coarse: Count the stages; else every block, as ``CASViT.get_layer_depth`` does.
        """
        last_layers = [0, *accumulate(resolve_arch(self.arch)['depths'])]

        def layer(name: str) -> int:
            depth = self.backbone.get_layer_depth(name, 'backbone.')[0]
            return bisect_left(last_layers, depth) if coarse else depth

        return layer

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass, or stop doing so."""
        self.backbone.with_cp = enable

    def get_classifier(self) -> nn.Module:
        """Return the linear layer of the classifier."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in the place of the old one; 0 classes leave it out."""
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)
        # A head without classes has no weights that would tell where and how new ones lie.
        self.head.to(next(self.backbone.parameters())).train(self.training)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's normed output, ``(B, num_features, H / 32, W / 32)``."""
        return self.backbone(x)[-1]

    def _normed(self, outs: list[Tensor], stage: int) -> Tensor:
        """Return the output of one stage, through its norm where it has one."""
        norm = getattr(self.backbone, f'norm{stage % len(outs)}', None)
        return outs[stage] if norm is None else norm(outs[stage])

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = 'NCHW',
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the outputs of stages, and what :meth:`forward_features` returns.

        Args:
            x: Images.
            indices: Which stages; a number takes so many of the last, None takes all.
            norm: Pass each output through its norm, where the model has one.
            stop_early: Do not run the stages after the last one that was asked for.
            output_fmt: ``'NCHW'``; there is no other.
            intermediates_only: Return the outputs of stages alone.

        Raises:
            ValueError: If ``output_fmt`` is another.
        """
        if output_fmt != 'NCHW':
            raise ValueError(f"output_fmt must be 'NCHW', got {output_fmt!r}")
        taken, last = feature_take_indices(len(self.backbone.stages), indices)
        outs = self.backbone.forward_stages(x, last + 1 if stop_early else None)
        intermediates = [self._normed(outs, i) if norm else outs[i] for i in taken]
        return intermediates if intermediates_only else (self._normed(outs, -1), intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the outputs of the given stages do not need.

        Args:
            indices: As :meth:`forward_intermediates` takes them.
            prune_norm: Remove the norms of the outputs too.
            prune_head: Remove the classifier; it goes in any case with the last stage.

        Returns:
            The numbers of the stages.
        """
        backbone = self.backbone
        taken, last = feature_take_indices(len(backbone.stages), indices)
        if prune_head or last + 1 < len(backbone.stages):
            self.reset_classifier(0, '')
        backbone.stages = backbone.stages[: last + 1]
        backbone.downsamples = backbone.downsamples[:last]
        for stage in backbone.out_indices:
            if prune_norm or stage not in taken:
                delattr(backbone, f'norm{stage}')
        if not hasattr(backbone, f'norm{last}'):
            backbone.add_module(f'norm{last}', nn.Identity())
        backbone.out_indices = (last,)
        self.num_features = self.head_hidden_size = self.feature_info[last]['num_chs']
        self.head.in_features = self.num_features
        return taken

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of features, or with ``pre_logits`` what the classifier is given."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.forward_head(self.forward_features(x))

    def __prepare_scriptable__(self) -> 'TimmCASViT':
        """Return what ``torch.jit.script`` compiles: it exchanges the backbone in it."""
        copied = copy.copy(self)
        copied._modules = dict(self._modules)
        return copied


def _cfg(file: str, size: int, **options: Any) -> dict[str, Any]:
    return dict(
        file=file,
        custom_load=True,
        input_size=(3, size, size),
        pool_size=(size // 32, size // 32),
        interpolation='bicubic',
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        num_classes=1000,
        first_conv='backbone.stem.0',
        classifier='head.fc',
        license='apache-2.0',
        origin_url='https://github.com/Tianfang-Zhang/CAS-ViT',
        paper_ids='arXiv:2408.03703',
        **options,
    )


default_cfgs = generate_default_cfgs(
    {
        f'casvit_{arch}.{tag}': cfg
        for arch in ARCHS
        for tag, cfg in (
            ('in1k', _cfg(f'checkpoints/cas-vit-{arch}.pth', 224, crop_pct=224 / 256)),
            # The authors evaluate at 384 px without a crop.
            (
                'in1k_384',
                _cfg(f'checkpoints/cas-vit-{arch}-384.pth', 384, crop_pct=1.0, crop_mode='squash'),
            ),
        )
    }
)


def _create(arch: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a model as timm asks for it.

    Raises:
        ValueError: If it is asked for another stride, or for features that are no copies of ours.
    """
    if kwargs.pop('output_stride', 32) != 32:
        raise ValueError(
            'CAS-ViT has an output stride of 32 and cannot be dilated; features_only=True with '
            'out_indices gives its maps at strides 4, 8, 16 and 32'
        )
    if kwargs.pop('feature_cls', 'getter') != 'getter':
        # The norm of an output is not where timm's other extractors look, inside the stages.
        raise ValueError(
            "features of CAS-ViT come by feature_cls='getter', timm's name for its way"
        )
    dense = kwargs.get('features_only', False)
    out_indices = kwargs.pop('out_indices', (0, 1, 2, 3))
    # Without custom_load, timm would read a file that the overlay names by its own reader.
    overlay = {'custom_load': True, **(kwargs.pop('pretrained_cfg_overlay', None) or {})}
    return build_model_with_cfg(
        TimmCASViT,
        f'casvit_{arch}',
        pretrained,
        pretrained_cfg_overlay=overlay,
        feature_cfg=dict(out_indices=out_indices, feature_cls='getter', norm=True),
        arch=arch,
        dense=dense,
        **kwargs,
    )


def _register(arch: str) -> Callable[..., nn.Module]:
    """Give timm a function that builds ``arch``, named as the model."""

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(arch, pretrained, **kwargs)

    create.__name__ = f'casvit_{arch}'
    return register_model(create)


# timm adds the names to __all__, where importing * looks them up.
globals().update({f'casvit_{arch}': _register(arch) for arch in ARCHS})
