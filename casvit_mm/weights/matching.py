"""Weights: brought to our keys, and loaded strictly.

What the keys of official files are called and what becomes of each stands in
:mod:`casvit_mm.weights.official_keys`, how a file is read in :mod:`casvit_mm.weights.reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from casvit_mm.errors import InputError, first_names
from casvit_mm.weights.official_keys import (
    KEY_RULES,
    as_classifier,
    is_official,
    rename_official_keys,
)
from casvit_mm.weights.reading import load_file, state_dict_of

__all__ = [
    'KEY_RULES',
    'PIXELS',
    'LoadReport',
    'as_classifier',
    'check_fit',
    'compare',
    'fit_backbone',
    'fit_whole',
    'load_weights',
    'read_checkpoint',
    'rename_official_keys',
]

# Only the inference form of casvit_mm.fuse has it: what was the norm before it.
_FUSED_KEY = re.compile(r'(?:^|\.)token_mixer\.qkv\.bias$')
# A bare backbone may keep its own output norms; a whole model's file must hold all of them.
_OUTPUT_NORM = re.compile(r'^norm\d\.')

# Why a key of a file may be left out, or one of a bare backbone be missing.
_NO_BACKBONE = 'no part of a backbone'
_CLASSIFIER = "the classifier's; a backbone ends before it"
_CLASSIFIER_NORM = "the classifier's; a model of several outputs has norms of its own"
_NO_SUCH_OUTPUT = 'norm of an output that the model does not give'
_NO_SUCH_STAGE = 'the model ends at an earlier stage'
PIXELS = 'pixel means, which the config holds'
_KEPT = 'the file has none; they begin as the identity'


@dataclass(frozen=True)
class LoadReport:
    """What a file held, compared with a model. Printed, it is a short table.

    Attributes:
        matched: Our keys that took a value from the file.
        kept: Our keys that the file does not hold and need not hold; they keep their values.
        dropped: Keys of the file that the model has no place for, by a named rule.
        reasons: By key, why it was kept or dropped.
    """

    matched: list[str]
    kept: list[str]
    dropped: list[str]
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The report as one line for a log."""
        text = f'{len(self.matched)} keys matched'
        if self.kept:
            text += f', {len(self.kept)} kept at their initial value ({_modules(self.kept)})'
        if self.dropped:
            text += f', {len(self.dropped)} of the file not needed ({_modules(self.dropped)})'
        return text

    def table(self) -> Table:
        """Return a row for the matched keys, and one for each reason of an exception."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column('keys')
        table.add_column('number', justify='right')
        table.add_column('which, and why', overflow='fold')
        table.add_row('matched', str(len(self.matched)), _modules(self.matched, depth=1))
        for name, keys in (('missing, kept', self.kept), ('unexpected, dropped', self.dropped)):
            for reason, group in _grouped(keys, self.reasons).items():
                table.add_row(name, str(len(group)), f'{_modules(group)}: {reason}')
            if not keys:
                table.add_row(name.partition(',')[0], '0', '')
        return table

    def __str__(self) -> str:
        console = Console(width=100)
        with console.capture() as captured:
            console.print(self.table())
        return '\n'.join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _modules(keys: Iterable[str], limit: int = 4, depth: int = 9) -> str:
    """Return the modules that ``keys`` belong to, as deep as ``limit`` of them tell all.

    Args:
        keys: Names of tensors.
        limit: How many modules to name at most.
        depth: How many parts of a name to give at most.
    """
    parts = [key.split('.')[:-1] or [key] for key in keys]
    for parts_given in range(depth, 0, -1):
        modules = list(dict.fromkeys('.'.join(names[:parts_given]) for names in parts))
        if len(modules) <= limit:
            break
    return first_names(modules, limit)


def _grouped(keys: list[str], reasons: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(reasons[key], []).append(key)
    return groups


def fit_backbone(
    state: Mapping[str, Tensor], keys: set[str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return what of ``state`` belongs to a backbone, and why the rest is left out, by key.

    - ``neck.*``, ``rpn_head.*``, ``head.*`` and whatever else is no part of a backbone is dropped.
    - Stages and norms after the last output that the backbone was asked for are dropped.
    - The classifier's ``norm.*`` goes to the norm of the last stage where that is the only output,
      as in a classifier; with several outputs it is dropped, as the published detection and
      segmentation code does. So is the only output norm of a file of ours.

    Args:
        state: Under our names, with or without the prefix ``backbone.``.
        keys: Those of the backbone.
    """
    whole = any(key.startswith('backbone.') for key in state)
    inside = {
        key.removeprefix('backbone.'): value
        for key, value in state.items()
        if key.startswith('backbone.') or not whole
    }
    dropped = {key: _NO_BACKBONE for key in state if whole and not key.startswith('backbone.')}
    norms, held = (
        {key.partition('.')[0] for key in group if _OUTPUT_NORM.match(key)}
        for group in (keys, inside)
    )
    if len(held) == 1 < len(norms):
        alone = f'{held.pop()}.'
        dropped |= {key: _CLASSIFIER_NORM for key in inside if key.startswith(alone)}
        inside = {key: value for key, value in inside.items() if not key.startswith(alone)}
    built = {part for key in keys if (part := _part(key))}
    last = max((part.removeprefix('stages.') for part in built if part[0] == 's'), default='')
    if norms == {f'norm{last}'}:
        inside = {re.sub(r'^norm\.', f'norm{last}.', k): v for k, v in inside.items()}
    for key in [key for key in inside if key not in keys]:
        reason = _why_needless(key, built)
        if reason:
            del inside[key]
            dropped[key] = reason
    return inside, dropped


def _part(key: str) -> str:
    """Return ``stages.<i>`` or ``downsamples.<i>`` if ``key`` belongs to one, else nothing."""
    match = re.match(r'(?:stages|downsamples)\.\d+', key)
    return match.group() if match else ''


def _why_needless(key: str, built: set[str]) -> str:
    """Return why a key that a backbone does not have may be in a file; nothing if it may not."""
    if _OUTPUT_NORM.match(key):
        return _NO_SUCH_OUTPUT
    if key.startswith('norm.'):
        return _CLASSIFIER_NORM
    if key.startswith(('head.', 'dist_head.')):
        return _CLASSIFIER
    part = _part(key)
    return _NO_SUCH_STAGE if part and part not in built else ''


def fit_whole(
    state: Mapping[str, Tensor], model: nn.Module
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return what of a whole model's ``state`` belongs to ``model``, and why the rest does not.

    Only the part under ``backbone.`` has optional keys; the rest must fit as it is.
    """
    inside, dropped = fit_backbone(
        {key: value for key, value in state.items() if key.startswith('backbone.')},
        set(model.get_submodule('backbone').state_dict()),
    )
    new = {f'backbone.{key}': value for key, value in inside.items()}
    dropped = {f'backbone.{key}': reason for key, reason in dropped.items()}
    for key, value in state.items():
        if key.startswith('data_preprocessor.'):
            dropped[key] = PIXELS
        elif not key.startswith('backbone.'):
            new[key] = value
    return new, dropped


def compare(
    own: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
    dropped: Mapping[str, str],
    path: str | Path,
    official_names: Mapping[str, str] | None = None,
) -> LoadReport:
    """Compare the model's state with a file's.

    Args:
        own: The model's.
        new: The file's, without what is dropped.
        dropped: By key, why it is left out.
        path: The file, for the message.
        official_names: What the file calls a key of ours, without ``backbone.``; for the message.

    Raises:
        InputError: If a key other than a bare backbone's output norm is missing, or a key is
            unexpected or of another shape.
    """
    misfits = [
        f'{key}: file {tuple(new[key].shape)}, model {tuple(own[key].shape)}'
        for key in own
        if key in new and new[key].shape != own[key].shape
    ]
    matched = [key for key in own if key in new and new[key].shape == own[key].shape]
    kept = [key for key in own if key not in new and _OUTPUT_NORM.match(key)]
    missing = [key for key in own if key not in new and key not in kept]
    unexpected = [_as_in_file(key, official_names or {}) for key in new if key not in own]
    if misfits or missing or unexpected or not matched:
        lines = [f'{str(path)!r} does not fit the model: {len(matched)}/{len(own)} keys matched.']
        for name, keys in (('shape', misfits), ('missing', missing), ('unexpected', unexpected)):
            if keys:
                more = f', ... ({len(keys)} in all)' if len(keys) > 3 else ''
                lines.append(f'  {name}: {", ".join(keys[:3])}{more}')
        lines.append(
            'Is it a file of the same backbone, arch (XS, S, M and T differ in width) and token '
            'mixer, for the same method and number of classes?'
        )
        raise InputError('\n'.join(lines))
    return LoadReport(matched, kept, list(dropped), dict.fromkeys(kept, _KEPT) | dict(dropped))


def _as_in_file(key: str, official_names: Mapping[str, str]) -> str:
    name = official_names.get(key.removeprefix('backbone.'), key)
    return key if name == key else f'{key} ({name} in the file)'


def read_checkpoint(path: str | Path, weights: str | None = None) -> dict[str, Any]:
    """Read a checkpoint as MMEngine's Runner takes it, the weights under ``state_dict``.

    Args:
        path: File in any layout that :func:`load_weights` knows.
        weights: Which set to put there; see :func:`load_weights`.

    Returns:
        The file's content, its weights under our names; of an official file, ``official_names``
        tells what it calls them, both without ``backbone.``.

    Raises:
        InputError: As :func:`load_file`, or if the file does not hold ``weights``.
    """
    content = dict(load_file(path))
    state = state_dict_of(content, path, weights)
    if is_official(state):
        renamed = rename_official_keys(state)
        content['official_names'] = {
            new.removeprefix('backbone.'): old.removeprefix('backbone.')
            for new, old in zip(renamed, state, strict=True)
        }
        state = renamed
    content['state_dict'] = state
    return content


def _check_form(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights of the inference form for a model that can be trained, and the reverse.

    Raises:
        InputError: Saying what to do instead.
    """
    own = model.state_dict()
    held, wanted = (any(map(_FUSED_KEY.search, keys)) for keys in (state, own))
    if wanted and not held:
        raise InputError(
            f'{str(path)!r} does not fit an inference form, made by casvit_mm.fuse, which has no '
            'norms left. Load the file into the model before: load_weights(model, path), then '
            'fuse(model.eval())'
        )
    if held and not wanted:
        raise InputError(
            f'{str(path)!r} holds an inference form, saved after casvit_mm.fuse; its norms cannot '
            'be recovered. Load it into one: load_weights(fuse(model.eval()), path), or take the '
            'file that was trained'
        )
    if held and set(state) != set(own):
        # A detector's form has its output norms in the neck: such a backbone is none by itself.
        raise InputError(
            f'{str(path)!r} holds the inference form of another kind of model: '
            f'{len(set(state) & set(own))} of its {len(state)} keys are among the {len(own)} of '
            'this one. Fuse a model built from the same config'
        )


def check_fit(
    model: nn.Module,
    state: dict[str, Tensor],
    path: str | Path,
    official_names: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Return what of a whole model's ``state`` goes into ``model``.

    Args:
        model: The model, with its ``backbone``.
        state: Under our names.
        path: The file, for the message.
        official_names: As :func:`read_checkpoint` gives them; for the message.

    Raises:
        InputError: If a key is missing, unexpected or of another shape, or only one of the two is
            an inference form.
    """
    _check_form(model, state, path)
    own, state = model.state_dict(), as_classifier(state, model)
    if not own.keys() & state.keys():
        raise InputError(
            f'{str(path)!r} holds no whole model, as this place needs; its keys begin with '
            f'{_modules(state, depth=1)}.\nA backbone or classifier is where to start a training '
            f'from: tools/train.py CONFIG --pretrained {path}'
        )
    new, dropped = fit_whole(state, model)
    compare(own, new, dropped, path, official_names)
    return new


def load_weights(model: nn.Module, path: str | Path, weights: str | None = None) -> LoadReport:
    """Load a file of weights into a CAS-ViT, or into a model that has one as ``backbone``.

    Official files (classification or dense form), checkpoints of our own training runs, of
    mmpretrain, mmdet, mmseg and timm with our backbone, and safetensors are recognised by their
    keys. A classification file goes into ``model.backbone``, and into the head of a classifier; a
    file of a whole detector, segmentor or classifier fills the whole model, or only the backbone
    where ``model`` is one.

    Args:
        model: A :class:`~casvit_mm.CASViT`, or a module with a CAS-ViT as ``backbone``. Its
            inference form (:func:`casvit_mm.fuse`) takes only the weights of one.
        path: The file; an address or a name as :func:`~casvit_mm.weights.sources.local_file` takes.
        weights: ``'ema'`` for the moving average, ``'raw'`` for the weights of the last step; None
            takes the average of a training run of ours, and ``model`` of an official file.

    Returns:
        The keys matched, kept and dropped; ``print`` shows them as a table. Only output norms can
        be kept: the classification form has none.

    Raises:
        InputError: If the file cannot be read, a key of the model is missing, or a shape differs;
            the message counts the matched keys. The model is left untouched then.
    """
    content = read_checkpoint(path, weights)
    _check_form(model, content['state_dict'], path)
    state = as_classifier(content['state_dict'], model)
    backbone = getattr(model, 'backbone', None)
    if backbone is not None and any(key.startswith('backbone.') for key in state):
        target = model
        new, dropped = fit_whole(state, model)
    else:
        target = model if backbone is None else backbone
        new, dropped = fit_backbone(state, set(target.state_dict()))
    own = target.state_dict()
    report = compare(own, new, dropped, path, content.get('official_names'))
    target.load_state_dict({**own, **new})
    return report
