"""The models to time: a published variant, a config, a timm model, or the published code."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from casvit_mm.benchmark.official import load_official
from casvit_mm.benchmark.peers import OURS, PEERS, reparameterise
from casvit_mm.config.building import build_model, read_model_config
from casvit_mm.config.paths import config_name
from casvit_mm.errors import InputError
from casvit_mm.models import ARCHS, CASViT
from casvit_mm.models.wrappers import Logits, as_function

__all__ = ['ModelSpec', 'find_model_spec', 'official_model_spec']

_OURS = {f'casvit_{variant}': variant for variant in ARCHS}


@dataclass(frozen=True)
class ModelSpec:
    """A model to time, built when it is needed.

    Attributes:
        name: Name in tables.
        family: Group of models that are compared with each other: a variant of ours and the
            published code of it are one.
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


def find_model_spec(name: str, part: str = 'model', checkpoint: str | None = None) -> ModelSpec:
    """Return what a name on the command line means.

    Args:
        name: ``casvit_xs`` to ``casvit_t``, a config file, or a model of timm.
        part: ``'model'``, or ``'backbone'`` for that alone.
        checkpoint: Weights for a config; without, they are random.

    Raises:
        InputError: If the name is none of these, naming near ones, or has no such part.
    """
    if name.endswith('.py') or Path(name).is_file():
        stem = Path(config_name(name)).stem
        return ModelSpec(stem, stem, lambda: _from_config(name, part, checkpoint))
    if checkpoint:
        raise InputError(f'--checkpoint belongs to a config; {name} is timed with random weights')
    if name in _OURS:
        return _our_spec(name, part)
    if timm.is_model(name):
        return _timm_spec(name, part)
    near = ', '.join(difflib.get_close_matches(name, [*_OURS, *timm.list_models()], n=4))
    raise InputError(
        f'{name} is neither a config file nor a known model; '
        f'{f"near: {near}. " if near else ""}Known are {", ".join(_OURS)}, the models '
        'of timm, and configs; exported files go to --file'
    )


def _our_spec(name: str, part: str) -> ModelSpec:
    variant = _OURS[name]
    if part == 'backbone':
        return ModelSpec(name, name, lambda: CASViT(variant).eval())
    return ModelSpec(name, name, lambda: _classifier(variant), OURS[name])


def _timm_spec(name: str, part: str) -> ModelSpec:
    if part == 'backbone':
        raise InputError(f'{name}: --part backbone is for our models and configs')
    peer = PEERS.get(name)
    note = f'top-1 at {peer.pixels} px ({peer.source}); ' if peer else ''
    top1 = peer.top1 if peer else None
    return ModelSpec(name, name, lambda: reparameterise(name), top1, note, peer=True)


def official_model_spec(variant: str, checkout: str) -> ModelSpec:
    """Return the published code of a variant.

    Args:
        variant: Of ours, such as ``'casvit_s'``.
        checkout: Folder of the published repository.

    Raises:
        InputError: If it is not there or cannot be imported.
    """
    build = load_official(checkout, _OURS[variant])
    return ModelSpec(
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
    cfg = read_model_config(path)
    model = build_model(cfg, checkpoint, need_classes=False).model
    if part == 'backbone':
        return model.backbone
    return as_function(model, cfg.get('default_scope', 'mmengine')).eval()
