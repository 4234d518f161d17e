"""Weights: converted to our keys, and loaded strictly.

What the keys of official files are called is in :mod:`casvit_mm.weights.official_keys`, which keys
may be left out in :mod:`casvit_mm.weights.fitting`, and how a file is read in
:mod:`casvit_mm.weights.reading`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from casvit_mm.cli import job_command
from casvit_mm.errors import InputError
from casvit_mm.weights.finite import check_finite
from casvit_mm.weights.fitting import fit_backbone, fit_whole
from casvit_mm.weights.official_keys import (
    as_classifier,
    is_official,
    output_norms,
    rename_official_keys,
)
from casvit_mm.weights.prefixes import fitting_prefix
from casvit_mm.weights.reading import load_file, weights_of
from casvit_mm.weights.report import LoadReport, modules_of

__all__ = ['check_fit', 'compare', 'load_weights', 'read_checkpoint']

# Only the inference form of casvit_mm.fuse has it: what was the norm before it.
_FUSED_KEY = re.compile(r'(?:^|\.)token_mixer\.qkv\.bias$')
_KEPT = 'the file has none; they begin as the identity'


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
            unexpected or of another shape; or if the file holds NaN or infinity.
    """
    misfits = [
        f'{key}: file {tuple(new[key].shape)}, model {tuple(own[key].shape)}'
        for key in own
        if key in new and new[key].shape != own[key].shape
    ]
    matched = [key for key in own if key in new and new[key].shape == own[key].shape]
    # A bare backbone may keep its own output norms; a whole model's file must hold all of them.
    kept = [key for key in own if key not in new and output_norms([key])]
    missing = [key for key in own if key not in new and key not in kept]
    unexpected = [_as_in_file(key, official_names or {}) for key in new if key not in own]
    if misfits or missing or unexpected or not matched:
        lines = [f'{str(path)!r} does not fit the model: {len(matched)}/{len(own)} keys matched.']
        for name, keys in (('shape', misfits), ('missing', missing), ('unexpected', unexpected)):
            if keys:
                more = f', ... ({len(keys)} in all)' if len(keys) > 3 else ''
                lines.append(f'  {name}: {", ".join(keys[:3])}{more}')
        prefix = _common_prefix(new)
        if prefix and not any(key.startswith(prefix) for key in own):
            lines.append(f'All its keys begin with {prefix!r}, and none of the model does.')
        lines.append(
            'Is it a file of the same backbone, arch (XS, S, M and T differ in width) and token '
            'mixer, for the same method and number of classes?'
        )
        raise InputError('\n'.join(lines))
    check_finite(new, path, own)
    return LoadReport(matched, kept, list(dropped), dict.fromkeys(kept, _KEPT) | dict(dropped))


def _common_prefix(keys: Iterable[str]) -> str:
    """Return the modules, each with its dot, that all names begin with."""
    parts = zip(*(key.split('.')[:-1] for key in keys), strict=False)
    same = itertools.takewhile(lambda part: len(set(part)) == 1, parts)
    return ''.join(f'{part[0]}.' for part in same)


def _as_in_file(key: str, official_names: Mapping[str, str]) -> str:
    name = official_names.get(key.removeprefix('backbone.'), key)
    return key if name == key else f'{key} ({name} in the file)'


def read_checkpoint(path: str | Path, weights: str | None = None) -> dict[str, Any]:
    """Read a checkpoint as MMEngine's Runner takes it, the weights under ``state_dict``.

    Args:
        path: File in any layout that :func:`load_weights` knows.
        weights: Which set to put there; see :func:`load_weights`.

    Returns:
        The file's content, its weights under our names; ``stripped`` tells the
        user what wrappers were taken off; of an official file, ``official_names`` tells what it
        calls them, both without ``backbone.``.

    Raises:
        InputError: As :func:`load_file`, or if the file does not hold ``weights``.
    """
    content = dict(load_file(path))
    state, content['stripped'] = weights_of(content, path, weights)
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
    held, needed = (any(map(_FUSED_KEY.search, keys)) for keys in (state, own))
    if needed and not held:
        raise InputError(
            f'{str(path)!r} does not fit an inference form, made by casvit_mm.fuse, which has no '
            'norms left. Load the file into the model before: load_weights(model, path), then '
            'fuse(model.eval())'
        )
    if held and not needed:
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
    if not own.keys() & state.keys() and (prefix := fitting_prefix(state, own)):
        state = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    if not own.keys() & state.keys():
        raise InputError(
            f'{str(path)!r} holds no whole model, as this place needs; its keys begin with '
            f'{modules_of(state, depth=1)}.\nA backbone or classifier is where to start a training '
            f'from: {job_command("train", "CONFIG", "--pretrained", path)}'
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
    stripped = content['stripped']
    try:
        report = compare(own, new, dropped, path, content.get('official_names'))
    except InputError as error:
        raise type(error)(f'{error}\n{stripped}' if stripped else str(error)) from error
    report = replace(report, stripped=stripped)
    target.load_state_dict({**own, **new})
    return report
