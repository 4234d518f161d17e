"""BatchNorm folded into a neighbouring convolution: the arithmetic of the inference form.

In eval mode a BatchNorm is a fixed scale and shift of every channel, and so is linear, as a
convolution is. All sums are done in float64 whatever the model's precision is, so folding rounds
once, where the result is stored.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, TypeGuard, TypeVar

import torch
from mmengine.model.utils import _BatchNormXd
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from casvit_mm.errors import InputError
from casvit_mm.models.norm import AutoSyncBatchNorm

__all__ = [
    'conv_then_norm',
    'fold_sequential',
    'is_foldable',
    'is_plain_conv',
    'norm_then_linear',
    'reads_points',
]

Layer = TypeVar('Layer', bound=nn.Module)

# Exact classes: a subclass may add an activation, as timm's BatchNormAct2d does. MMEngine's two are
# what type='SyncBN' gives, and what revert_sync_batchnorm makes of it.
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, AutoSyncBatchNorm, SyncBatchNorm, _BatchNormXd)
# mmcv registers its own class as 'Conv'; it took empty inputs before torch did.
_CONVS = ('torch.nn.modules.conv.Conv2d', 'mmcv.cnn.bricks.wrappers.Conv2d')


def is_foldable(module: nn.Module) -> TypeGuard[_BatchNorm]:
    """Return whether ``module`` is a BatchNorm of images with statistics of its own."""
    return type(module) in _NORMS and getattr(module, 'running_mean', None) is not None


def is_plain_conv(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether ``module`` is a 2D convolution whose weight is what it convolves with."""
    name = f'{type(module).__module__}.{type(module).__qualname__}'
    # Spectral and weight normalisation compute the weight in such a hook.
    return name in _CONVS and not module._forward_pre_hooks


def reads_points(module: nn.Module) -> bool:
    """Return whether a BatchNorm before ``module`` folds into it.

    It does where each output depends on one position: padding puts zeros beside the normalised map,
    which are no zeros before the norm.
    """
    if type(module) is nn.Linear:
        return not module._forward_pre_hooks
    return (
        is_plain_conv(module)
        and module.kernel_size == (1, 1)
        and module.padding in ((0, 0), 'valid', 'same')
        and module.groups == 1
    )


def conv_then_norm(conv: nn.Conv2d, norm: _BatchNorm) -> nn.Conv2d:
    """Return one convolution that does what ``conv`` and ``norm`` after it do.

    Args:
        conv: A convolution in eval mode; left as it is.
        norm: A BatchNorm in eval mode; left as it is.
    """
    return _rounded(fuse_conv_bn_eval(_exact(conv), _exact(norm)), conv)


def norm_then_linear(norm: _BatchNorm, layer: Layer) -> Layer:
    """Return one layer that does what ``norm`` and ``layer`` after it do.

    Args:
        norm: A BatchNorm in eval mode; left as it is.
        layer: A 1x1 convolution or ``nn.Linear``, as :func:`reads_points` asks; left as it is. A
            mean over positions between the two changes nothing.

    Raises:
        InputError: If ``layer`` is none of these.
    """
    if not reads_points(layer):
        raise InputError(
            'a BatchNorm folds only into a plain nn.Linear or 1x1 nn.Conv2d after it, got '
            f'{layer}. Fuse before exchanging layers, or merge what was added to it'
        )
    affine, folded = _exact(norm), _exact(layer)
    scale = torch.rsqrt(affine.running_var + affine.eps)
    if affine.weight is not None:
        scale = scale * affine.weight
    shift = -affine.running_mean * scale
    if affine.bias is not None:
        shift = shift + affine.bias
    weight = folded.weight  # (C_out, C_in) or (C_out, C_in, 1, 1)
    bias = weight.flatten(1) @ shift
    if folded.bias is not None:
        bias = bias + folded.bias
    scaled = weight * scale.view(1, -1, *[1] * (weight.dim() - 2))
    folded.weight = nn.Parameter(scaled.detach(), weight.requires_grad)
    folded.bias = nn.Parameter(bias.detach(), weight.requires_grad)
    return _rounded(folded, layer)


def _exact(module: nn.Module) -> Any:
    """Return a copy in float64, on the CPU since not every device has it."""
    return copy.deepcopy(module).cpu().double()


def _rounded(module: Layer, like: nn.Module) -> Layer:
    """Return ``module`` in the precision and on the device of ``like``'s weight."""
    return module.to(like.get_parameter('weight'))


def fold_sequential(layers: nn.Sequential) -> None:
    """Fold every BatchNorm of ``layers`` into the convolution right before it, in place.

    ``nn.Identity`` takes its place, so the others keep their names.
    """
    for first, second in pairwise(list(layers._modules)):
        conv, norm = layers.get_submodule(first), layers.get_submodule(second)
        if is_plain_conv(conv) and is_foldable(norm):
            setattr(layers, first, conv_then_norm(conv, norm))
            setattr(layers, second, nn.Identity())
