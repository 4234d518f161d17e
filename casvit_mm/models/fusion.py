"""The inference form of a model: BatchNorm folded away.

No file is named after :func:`fuse`: importing a file ``casvit_mm/fuse.py`` would put the module in
the place of the function ``casvit_mm.fuse``.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeVar

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.models.casvit import CASViT
from casvit_mm.models.folding import (
    conv_then_norm,
    fold_sequential,
    is_foldable,
    is_plain_conv,
    norm_then_linear,
    reads_points,
)
from casvit_mm.models.inference import fuse_backbone

__all__ = ['fuse']

Model = TypeVar('Model', bound=nn.Module)

# The classes whose forward is known here, by name, so that nothing needs their packages. A subclass
# may read its input elsewhere too, and is not among them.
_CONV_MODULE = 'mmcv.cnn.bricks.conv_module.ConvModule'
_FPNS = ('mmdet.models.necks.fpn.FPN', 'mmseg.models.necks.fpn.FPN')
_UPERNET = 'mmseg.models.decode_heads.uper_head.UPerHead'
_SEGFORMER = 'mmseg.models.decode_heads.segformer_head.SegformerHead'
_POOLING = 'mmpretrain.models.necks.gap.GlobalAveragePooling'
_OWN_CLASSIFIER = 'casvit_mm.classification.heads.CASViTClsHead'
_LINEAR_CLASSIFIERS = (_OWN_CLASSIFIER, 'mmpretrain.models.heads.linear_head.LinearClsHead')

# How a model's extract_feat hands on what the backbone returns: to the neck, and nothing else.
_DETECTORS = (
    'mmdet.models.detectors.single_stage.SingleStageDetector.extract_feat',
    'mmdet.models.detectors.two_stage.TwoStageDetector.extract_feat',
)
_SEGMENTOR = 'mmseg.models.segmentors.encoder_decoder.EncoderDecoder.extract_feat'
_CLASSIFIER = 'mmpretrain.models.classifiers.image.ImageClassifier.extract_feat'


class _Reader(NamedTuple):
    """A layer and the module that holds it."""

    owner: nn.Module
    name: str


def fuse(model: Model) -> Model:
    """Return the inference form of a model: the same outputs with fewer layers.

    Every BatchNorm of the backbone is folded into a convolution beside it, and so is one in a
    ``ConvModule`` or ``nn.Sequential`` of neck and heads. The backbone's output norms are folded
    into what reads them, where that is known to be nothing but 1x1 convolutions or a pooled
    classifier; there, the feature maps between backbone and neck are no longer normalised. They
    stay in a bare backbone, before an unknown neck or head, and where a padded convolution reads
    them: padding sees the shift. So RetinaNet's P6 and UPerNet's bottleneck keep the last one.

    Two classifier heads become one. Auxiliary heads of a segmentor, which only train, are left out.

    Args:
        model: A :class:`~casvit_mm.CASViT`, or a model that holds one, in eval mode; left as it is.
            In any precision, on any device.

    Returns:
        A copy that cannot be trained. Its state dict loads into the inference form of any model
        built alike.

    Raises:
        InputError: If the model is in training mode, wrapped, fused already, holds no CASViT, or
            has a token mixer or another layer in its backbone that cannot be folded.
    """
    _check(model)
    fused = _copied(model).requires_grad_(False)
    for module in list(fused.modules()):
        if isinstance(module, CASViT):
            fuse_backbone(module)
        elif isinstance(module, nn.Sequential):
            fold_sequential(module)
        elif _name(type(module)) == _CONV_MODULE:
            _fold_conv_module(module)
        elif _name(type(module)) == _OWN_CLASSIFIER:
            module.fuse()  # type: ignore[operator]
    _fold_outputs(fused)
    return fused


def _copied(model: Model) -> Model:
    """Return a copy, also of a model that keeps results of a training step.

    torch copies no tensor that a gradient could flow through, such as a feature map that a module
    has kept, or a weight that ``weight_norm`` has computed: the copy gets its values.
    """
    kept = [value for module in model.modules() for value in vars(module).values()]
    memo: dict[int, Any] = {}
    seen = set()
    while kept:
        value = kept.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
        elif type(value) in (list, tuple):
            kept += value
        elif type(value) is dict:
            kept += value.values()
    return copy.deepcopy(model, memo)


def _check(model: nn.Module) -> None:
    """Refuse what has no inference form.

    Raises:
        InputError: Naming the cause.
    """
    kind = type(model).__name__
    if is_model_wrapper(model):
        raise InputError(f'fuse was given a {kind}; give it the model inside: fuse(model.module)')
    if hasattr(model, '_orig_mod'):
        raise InputError('fuse was given a compiled model: fuse first, then torch.compile')
    backbones = [module for module in model.modules() if isinstance(module, CASViT)]
    if not backbones:
        raise InputError(
            f'{kind} holds no CASViT; fuse makes the inference form of a CASViT, or of a '
            'classifier, detector or segmentor with one as its backbone'
        )
    if any(backbone.fused for backbone in backbones):
        raise InputError(f'this {kind} is fused already')
    if any(module.training for module in model.modules()):
        raise InputError(
            f'this {kind} is in training mode, where BatchNorm depends on the batch. Call '
            'model.eval() before fuse(model)'
        )


def _name(thing: Any) -> str:
    """Return the full name of a class or function."""
    return f'{thing.__module__}.{thing.__qualname__}'


def _fold_conv_module(module: Any) -> None:
    """Fold the norm of mmcv's ``ConvModule``, and leave it as if built without one.

    The norms of some heads share one convolution between levels; each gets its own then.
    """
    order = module.order
    follows = 'norm' in order and order[: order.index('norm')][-1:] == ('conv',)
    if not (module.with_norm and follows and is_plain_conv(module.conv)):
        return
    if is_foldable(module.norm):
        module.conv = conv_then_norm(module.conv, module.norm)
        delattr(module, module.norm_name)
        module.norm_name, module.with_norm, module.with_bias = None, False, True


def _fold_outputs(model: Any) -> None:
    """Fold the norms on the backbone's outputs into what reads them, where that is known."""
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, CASViT) or not hasattr(model, 'extract_feat'):
        return
    readers = _readers(model, backbone)
    if _name(type(model).extract_feat) == _SEGMENTOR and model.with_auxiliary_head:
        del model.auxiliary_head
    for place, i in enumerate(backbone.out_indices):
        norm = backbone.get_submodule(f'norm{i}')
        if place not in readers or not is_foldable(norm):
            continue
        layers = [reader.owner.get_submodule(reader.name) for reader in readers[place]]
        if all(reads_points(layer) for layer in layers):
            for reader, layer in zip(readers[place], layers, strict=True):
                setattr(reader.owner, reader.name, norm_then_linear(norm, layer))
            setattr(backbone, f'norm{i}', nn.Identity())


def _readers(model: Any, backbone: CASViT) -> dict[int, list[_Reader]]:
    """Return what reads each output of the backbone, by its place in the tuple.

    Empty where nothing does. A place is missing where that is not known, or a padded convolution is
    among it.
    """
    flow, neck = _name(type(model).extract_feat), getattr(model, 'neck', None)
    places = range(len(backbone.out_indices))
    if flow in (*_DETECTORS, _SEGMENTOR) and _name(type(neck)) in _FPNS:
        return _readers_in_fpn(neck, places)
    if flow == _SEGMENTOR and neck is None:
        return _readers_in_segmentation_head(model.decode_head, places)
    if flow == _CLASSIFIER and _name(type(neck)) == _POOLING:
        return _readers_in_classifier(model.head, places)
    return {}


def _readers_in_classifier(head: Any, places: range) -> dict[int, list[_Reader]]:
    """Return the linear layer for the last output; the others are not read."""
    if _name(type(head)) not in _LINEAR_CLASSIFIERS:
        return {}
    return {place: [_Reader(head, 'fc')] if place == places[-1] else [] for place in places}


def _readers_in_fpn(neck: Any, places: range) -> dict[int, list[_Reader]]:
    """Return the lateral convolution of each level; levels outside the pyramid have none."""
    readers: dict[int, list[_Reader]] = {place: [] for place in places}
    for level, lateral in enumerate(neck.lateral_convs, start=neck.start_level):
        readers[level].append(_Reader(lateral, 'conv'))
    if neck.add_extra_convs == 'on_input' and neck.num_outs > len(neck.lateral_convs):
        # The first extra level is a padded 3x3 convolution of the last output itself.
        del readers[neck.backbone_end_level - 1]
    return readers


def _readers_in_segmentation_head(head: Any, places: range) -> dict[int, list[_Reader]]:
    """Return the 1x1 convolution that reads each level; none of a head that is not known."""
    kind = _name(type(head))
    if kind not in (_UPERNET, _SEGFORMER):
        return {}
    readers: dict[int, list[_Reader]] = {place: [] for place in places}
    # UPerNet's pyramid reads the last level, and so does a padded 3x3 convolution after it.
    convs = head.convs if kind == _SEGFORMER else head.lateral_convs
    for index, conv in zip(head.in_index, convs, strict=False):
        readers[places[index]].append(_Reader(conv, 'conv'))
    if kind == _UPERNET:
        del readers[places[head.in_index[-1]]]
    return readers
