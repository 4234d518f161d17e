"""Weights of any origin under our names, in a slim and safe file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from casvit_mm.errors import InputError, first_names
from casvit_mm.io import replacing
from casvit_mm.models import ARCHS, CASViT
from casvit_mm.weights.fitting import PIXELS, fit_whole
from casvit_mm.weights.matching import compare
from casvit_mm.weights.official_keys import (
    as_classifier,
    is_official,
    output_norms,
    rename_official_keys,
    to_classifier_keys,
    whole_model_of,
)
from casvit_mm.weights.reading import WEIGHT_SETS, class_names, load_file
from casvit_mm.weights.report import LoadReport
from casvit_mm.weights.sources import local_file
from casvit_mm.zoo.publish import FORMATS, slim

__all__ = ['Converted', 'convert']

_HEADS = ('head.', 'dist_head.', 'norm.')


@dataclass(frozen=True)
class Converted:
    """What :func:`convert` wrote.

    Attributes:
        path: The file.
        source: What it was made of.
        kind: What it holds, in words.
        weights: ``'ema'`` or ``'raw'``; None where the source holds but one set.
        classes: Class names; None where the source has none.
        report: The keys matched and dropped.
        note: What was not compared; empty if there is nothing.
    """

    path: Path
    source: Path
    kind: str
    weights: str | None
    classes: tuple[str, ...] | None
    report: LoadReport
    note: str

    def __str__(self) -> str:
        names = self.classes or ()
        lines = [
            str(self.path),
            f'  {self.kind}, from {self.source}',
            f'  {WEIGHT_SETS[self.weights]} weights' if self.weights else '',
            f'  {len(names)} classes: {first_names(names, 5)}' if names else '  no class names',
            '',
            str(self.report),
            f'\n{self.note}' if self.note else '',
        ]
        return '\n'.join(line for i, line in enumerate(lines) if line or i == 4)


@dataclass(frozen=True)
class _Outcome:
    """The part of :class:`Converted` that follows from the keys, and the tensors themselves."""

    state: dict[str, Tensor]
    kind: str
    report: LoadReport
    note: str = ''


def convert(
    source: str | Path,
    target: str | Path,
    *,
    weights: str | None = None,
    config: str | None = None,
) -> Converted:
    """Write a file of weights under our names, after comparing every key and shape.

    Without ``config`` the trunk is compared with the CAS-ViT that its shapes tell, the heads of a
    classifier with that, and neck and heads of an official detector or segmentor with
    :data:`casvit_mm.weights.official_keys.WHOLE_MODELS`; neck and heads of others are copied.

    Args:
        source: File of the authors, of a training run of ours or of mmpretrain, mmdet, mmseg or
            timm with our backbone, or safetensors; what
            :func:`casvit_mm.weights.sources.local_file` takes.
        target: The file to write; its ending, ``.safetensors`` or ``.pth``, tells the format.
        weights: ``'ema'`` or ``'raw'`` of a file that holds both; see
            :func:`casvit_mm.zoo.publish.publish`.
        config: Config file whose model every key and shape must fit.

    Raises:
        InputError: If the source cannot be read, a key is missing, unexpected or of another shape,
            or the target is the source or cannot be written.
    """
    target = Path(target).expanduser()
    file_format = target.suffix.removeprefix('.')
    if file_format not in FORMATS:
        raise InputError(
            f'{target}: the name of the file must end in {" or ".join(f".{f}" for f in FORMATS)}'
        )
    source = local_file(source)
    if target.exists() and target.samefile(source):
        raise InputError(f'{target} is the source, which would be lost; name another file')
    content = load_file(source)
    chosen, tensors, meta = slim(content, weights, source)
    official = rename_official_keys(tensors) if is_official(tensors) else None
    names = {
        new.removeprefix('backbone.'): old.removeprefix('backbone.')
        for new, old in zip(official or {}, tensors, strict=False)
    }
    if config is not None:
        outcome = _for_config(official or tensors, config, source, names)
    else:
        outcome = _by_shapes(official or tensors, official is not None, source, names)
    with replacing(target, 'wb') as file:
        file.write(FORMATS[file_format](outcome.state, meta))
    return Converted(
        target,
        source,
        outcome.kind,
        chosen,
        class_names(content),
        outcome.report,
        outcome.note,
    )


def _for_config(
    state: dict[str, Tensor], config: str, path: Path, names: dict[str, str]
) -> _Outcome:
    """Fit a state dict to a config's model."""
    from mmengine.registry import MODELS, init_default_scope

    from casvit_mm.config.reading import read_config

    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model: nn.Module = MODELS.build(cfg.model)
    new, dropped = fit_whole(as_classifier(state, model), model)
    report = compare(model.state_dict(), new, dropped, path, names)
    return _Outcome(new, f'{type(model).__name__} of {config}', report)


def _by_shapes(
    state: dict[str, Tensor], official: bool, path: Path, names: dict[str, str]
) -> _Outcome:
    """Compare a state dict with the CAS-ViT that its shapes tell, and its heads as far as known."""
    whole = any(key.startswith('backbone.') for key in state)
    classifier = not whole and any(key.startswith(_HEADS) for key in state)
    arch = _arch_of({key.removeprefix('backbone.'): v for key, v in state.items()}, path)
    last = len(arch['depths']) - 1
    if classifier:
        state = to_classifier_keys(state, last)
    prefix = 'backbone.' if whole or classifier else ''
    inside = {k: v for k, v in state.items() if k.startswith(prefix)}
    rest = {key: value for key, value in state.items() if key not in inside}

    held = output_norms(key.removeprefix(prefix) for key in inside)
    outputs = range(last + 1) if official and whole else sorted(held) or (last,)
    with torch.device('meta'):
        backbone = CASViT(arch, out_indices=tuple(outputs))
    own = {f'{prefix}{key}': value for key, value in backbone.state_dict().items()}
    dropped = {key: PIXELS for key in rest if key.startswith('data_preprocessor.')}
    heads = {key: value for key, value in rest.items() if key not in dropped}
    kind, note = 'backbone', ''
    if any(key.startswith('head.fc') for key in heads):
        classes = len(heads.get('head.fc.bias', ()))
        kind = f'classifier of {classes} classes'
        own |= _classifier_keys(heads, classes, arch['embed_dims'][-1])
    elif official and heads:
        kind = _compare_official(heads, inside, own, dropped)
    elif heads:
        kind = 'whole model'
        parts = ', '.join(dict.fromkeys(key.partition('.')[0] for key in heads))
        note = f'{parts}: copied as they are. --config CONFIG compares them with its model.'
        own |= heads
    new = {key: value for key, value in (inside | rest).items() if key not in dropped}
    report = compare(own, new, dropped, path, names)
    return _Outcome(new, f'{kind}, {_describe(arch)}', report, note)


def _classifier_keys(heads: dict[str, Tensor], classes: int, dim: int) -> dict[str, Tensor]:
    """Return the keys and shapes of the classifier that ``heads`` must be."""
    layers = ['fc', 'fc_dist'] if any(key.startswith('head.fc_dist') for key in heads) else ['fc']
    shapes = {'weight': (classes, dim), 'bias': (classes,)}
    return {
        f'head.{layer}.{part}': torch.empty(shape, device='meta')
        for layer in layers
        for part, shape in shapes.items()
    }


def _compare_official(
    heads: dict[str, Tensor],
    inside: dict[str, Tensor],
    own: dict[str, Tensor],
    dropped: dict[str, str],
) -> str:
    """Add to ``own`` what an official whole model has behind its trunk, and to ``dropped`` why not.

    Returns:
        What it is, in words.
    """
    name, parts = whole_model_of(heads)
    for key, part in parts.items():
        if part.kept:
            # Shapes follow from the trunk's only in part; they are checked when a model is there.
            own[key] = heads.get(key, torch.empty(0))
        elif key in inside:
            own.pop(key)
            dropped[key] = part.meaning
    return f"the authors' {name}"


def _arch_of(state: dict[str, Tensor], path: Path) -> dict[str, tuple[int, ...]]:
    """Return the depths and widths of the CAS-ViT that a state dict is of.

    Raises:
        InputError: If it is of another network.
    """
    depths: dict[int, int] = {}
    for key in state:
        if match := re.match(r'stages\.(\d+)\.(\d+)\.', key):
            stage, block = map(int, match.groups())
            depths[stage] = max(depths.get(stage, 0), block + 1)
    convs = ['stem.3.weight', *(f'downsamples.{i}.conv.weight' for i in range(len(depths) - 1))]
    missing = [key for key in convs if key not in state]
    if not depths or missing:
        parts = sorted({key.partition('.')[0] for key in state})
        raise InputError(
            f'{str(path)!r} is not a whole file of a CAS-ViT: {(missing or ["stages"])[0]} is '
            f'missing; its keys begin with {", ".join(parts[:8])}'
        )
    return dict(
        depths=tuple(depths[stage] for stage in sorted(depths)),
        embed_dims=tuple(len(state[key]) for key in convs),
    )


def _describe(arch: dict[str, tuple[int, ...]]) -> str:
    """Return the name of an architecture, or its depths and widths."""
    for name, known in ARCHS.items():
        if all(tuple(known[key]) == value for key, value in arch.items()):
            return f'CAS-ViT-{name.upper()}'
    return f'CAS-ViT with depths {arch["depths"]} and widths {arch["embed_dims"]}'
