"""What is timed: a published variant, a config, a timm model, or the published code."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from casvit_mm.benchmark.official import load_official
from casvit_mm.benchmark.peers import OURS, PEERS, reparameterise
from casvit_mm.config.checks import check_backbone
from casvit_mm.config.reading import read_config
from casvit_mm.errors import InputError
from casvit_mm.models import ARCHS, CASViT
from casvit_mm.weights.matching import check_fit, read_checkpoint

__all__ = ['Logits', 'Subject', 'WholeModel', 'find_subject', 'official_subject']

_OURS = {f'casvit_{variant}': variant for variant in ARCHS}


@dataclass(frozen=True)
class Subject:
    """A model to time, built when it is needed.

    Attributes:
        name: In tables.
        family: What it is compared within: the variant, also for the published code of it.
        build: Returns the model in eval mode, which takes ``(B, 3, H, W)``.
        top1: Published ImageNet top-1 in percent, where the model is a classifier that has one.
        note: Where ``top1`` is from.
        peer: Whether it is a model of timm.
        official: Whether it is the published code.
    """

    name: str
    family: str
    build: Callable[[], nn.Module]
    top1: float | None = None
    note: str = ''
    peer: bool = False
    official: bool = False


class Logits(nn.Module):
    """A classifier of mmpretrain as a function of the image alone.

    Shape:
        ``(B, 3, H, W) -> (B, num_classes)``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, mode='tensor')


class WholeModel(nn.Module):
    """A detector or segmentor from the pre-processed image to its predictions.

    Args:
        model: Of mmdet or mmseg, in eval mode.
        sample_type: Class of its data samples.

    Shape:
        ``(B, 3, H, W) -> list of B data samples``.
    """

    def __init__(self, model: nn.Module, sample_type: type) -> None:
        super().__init__()
        self.model = model
        self._sample_type = sample_type

    def forward(self, x: Tensor) -> Any:
        size = tuple(x.shape[2:])
        meta = dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            padding_size=[0, 0, 0, 0],
        )
        samples = [self._sample_type(metainfo=meta) for _ in range(len(x))]
        return self.model(x, samples, mode='predict')


def find_subject(name: str, part: str = 'model', checkpoint: str | None = None) -> Subject:
    """Return what a name on the command line means.

    Args:
        name: ``casvit_xs`` to ``casvit_t``, a config file, or a model of timm.
        part: ``'model'``, or ``'backbone'`` for that alone.
        checkpoint: Weights for a config; without, they are random.

    Raises:
        InputError: If the name is none of these, naming near ones, or has no such part.
    """
    if name.endswith('.py') or Path(name).is_file():
        return Subject(
            Path(name).stem, Path(name).stem, lambda: _from_config(name, part, checkpoint)
        )
    if checkpoint:
        raise InputError(f'--checkpoint belongs to a config; {name} is timed with random weights')
    if name in _OURS:
        variant = _OURS[name]
        if part == 'backbone':
            return Subject(name, name, lambda: CASViT(variant).eval())
        return Subject(name, name, lambda: _classifier(variant), OURS[name])
    if timm.is_model(name):
        if part == 'backbone':
            raise InputError(f'{name}: --part backbone is for our models and configs')
        known_peer = PEERS.get(name)
        note = f'top-1 at {known_peer.pixels} px ({known_peer.source}); ' if known_peer else ''
        top1 = known_peer.top1 if known_peer else None
        return Subject(name, name, lambda: reparameterise(name), top1, note, peer=True)
    known = [*_OURS, *timm.list_models()]
    near = ', '.join(difflib.get_close_matches(name, known, n=4))
    raise InputError(
        f'{name} is neither a config file nor a known model; '
        f'{f"near: {near}. " if near else ""}Known are {", ".join(_OURS)}, the models '
        'of timm, and configs; exported files go to --file'
    )


def official_subject(variant: str, checkout: str) -> Subject:
    """Return the published code of a variant.

    Args:
        variant: Of ours, such as ``'casvit_s'``.
        checkout: Folder of the published repository.

    Raises:
        InputError: If it is not there or cannot be imported.
    """
    build = load_official(checkout, _OURS[variant])
    return Subject(
        f'official rcvit_{_OURS[variant]}',
        variant,
        lambda: build().eval(),
        OURS[variant],
        official=True,
    )


def _classifier(variant: str) -> nn.Module:
    """Return the published classifier: both heads, whose logits are averaged."""
    import casvit_mm.classification  # noqa: F401  registers the head

    init_default_scope('mmpretrain')
    backbone = dict(type='CASViT', arch=variant, out_indices=(3,))
    head = dict(
        type='CASViTClsHead',
        num_classes=1000,
        in_channels=ARCHS[variant]['embed_dims'][-1],
        distilled=True,
    )
    neck = dict(type='GlobalAveragePooling')
    cfg = dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
    return Logits(MODELS.build(cfg)).eval()


def _from_config(path: str, part: str, checkpoint: str | None) -> nn.Module:
    """Build the model of a config.

    Raises:
        InputError: If it cannot be built, or the checkpoint does not fit.
    """
    cfg = read_config(path)
    if 'model' not in cfg:
        raise InputError(f'{path} has no model')
    check_backbone(cfg)
    scope = cfg.get('default_scope', 'mmengine')
    init_default_scope(scope)
    if 'backbone' in cfg.model:
        cfg.model.backbone.init_cfg = None
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if checkpoint:
        content = read_checkpoint(checkpoint)
        model.load_state_dict(check_fit(model, content['state_dict'], checkpoint))
    return _as_function(model, scope, part).eval()


def _as_function(model: nn.Module, scope: str, part: str) -> nn.Module:
    if part == 'backbone':
        return model.backbone  # type: ignore[return-value]
    if scope == 'mmdet':
        from mmdet.structures import DetDataSample

        return WholeModel(model, DetDataSample)
    if scope == 'mmseg':
        from mmseg.structures import SegDataSample

        return WholeModel(model, SegDataSample)
    return Logits(model) if scope == 'mmpretrain' else model
