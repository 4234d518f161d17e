"""Weights: renamed to our keys, and loaded strictly.

The authors publish two forms. The classification form holds the trunk, one ``norm`` and up to two
heads; the dense form (detection, segmentation) holds the trunk under ``backbone.`` with one norm
per stage output. :data:`KEY_RULES` is the only place that knows their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from casvit_mm.errors import InputError
from casvit_mm.weight_files import load_file, state_dict_of

__all__ = [
    'KEY_RULES',
    'LoadReport',
    'as_classifier',
    'check_fit',
    'load_weights',
    'read_checkpoint',
    'rename_official_keys',
]

# Official name -> ours, applied in order to the part after ``backbone.``. In ``network`` the even
# children are stages, the odd ones the downsampling after them; both are halved by _halve.
KEY_RULES = (
    (r'^patch_embed\.', 'stem.'),
    (r'^network\.([1357])\.proj\.', r'downsamples.<\1>.conv.'),
    (r'^network\.([1357])\.norm\.', r'downsamples.<\1>.norm.'),
    (r'^network\.([0246])\.', r'stages.<\1>.'),
    (r'^norm([0246])\.', r'norm<\1>.'),
    (r'\.local_perception\.network\.', '.local_integration.'),
    (r'\.attn\.oper_([qk])\.(\d)\.block\.', r'.token_mixer.gate_\1.\2.gate.'),
    (r'\.attn\.dwc\.', '.token_mixer.dwconv.'),
    (r'\.attn\.', '.token_mixer.'),
)
_OFFICIAL_KEY = re.compile(r'^(?:backbone\.)?(?:patch_embed|network)\.')
# A bare backbone may keep its own output norms; a whole model's file must hold all of them.
_OUTPUT_NORM = re.compile(r'^norm\d\.')
_OPTIONAL = re.compile(r'^(?:norm\d?|head|dist_head)\.')
# Official classification form, after KEY_RULES -> a classifier of ours with the last stage's norm.
_CLASSIFIER_RULES = (
    (r'^head\.', 'head.fc.'),
    (r'^dist_head\.', 'head.fc_dist.'),
    (r'^norm\.', 'backbone.norm{last}.'),
    (r'^(?!head\.|backbone\.)', 'backbone.'),
)


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_weights` did.

    Attributes:
        matched: Our keys that took a value from the file.
        kept: Our keys that the file does not hold and need not hold; they keep their values.
        dropped: Keys of the file that the model has no place for, by a named rule.
    """

    matched: list[str]
    kept: list[str]
    dropped: list[str]

    def __str__(self) -> str:
        text = f'{len(self.matched)} keys matched'
        if self.kept:
            text += f', {len(self.kept)} kept at their initial value ({_summary(self.kept)})'
        if self.dropped:
            text += f', {len(self.dropped)} of the file not needed ({_summary(self.dropped)})'
        return text


def _summary(keys: list[str], limit: int = 4) -> str:
    """Return the first few modules that ``keys`` belong to."""
    modules = list(dict.fromkeys(key.rpartition('.')[0] or key for key in keys))
    return ', '.join(modules[:limit]) + (', ...' if len(modules) > limit else '')


def _halve(match: re.Match) -> str:
    return str(int(match.group(1)) // 2)


def rename_official_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an official state dict under our names; other keys stay as they are."""
    renamed = {}
    for key, value in state_dict.items():
        prefix = 'backbone.' if key.startswith('backbone.') else ''
        name = key.removeprefix(prefix)
        for pattern, replacement in KEY_RULES:
            name = re.sub(pattern, replacement, name)
        renamed[prefix + re.sub(r'<(\d)>', _halve, name)] = value
    return renamed


def _fit_backbone(state: dict[str, Tensor], keys: set[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Return what of ``state`` belongs to a backbone with ``keys``, and the names left out.

    - ``neck.*``, ``rpn_head.*``, ``head.*`` and whatever else is no part of a backbone is dropped.
    - Stages and norms after the last output that the backbone was asked for are dropped.
    - The classifier's ``norm.*`` goes to the norm of the last stage where that is the only output,
      as in a classifier; with several outputs it is dropped, as the published detection and
      segmentation code does. So is the only output norm of a file of ours.
    """
    if any(key.startswith('backbone.') for key in state):
        inside, dropped = {}, []
        for key, value in state.items():
            if key.startswith('backbone.'):
                inside[key.removeprefix('backbone.')] = value
            else:
                dropped.append(key)
    else:
        inside, dropped = dict(state), []
    norms = {key.partition('.')[0] for key in keys if _OUTPUT_NORM.match(key)}
    held = {key.partition('.')[0] for key in inside if _OUTPUT_NORM.match(key)}
    if len(held) == 1 < len(norms):
        alone = f'{held.pop()}.'
        dropped += [key for key in inside if key.startswith(alone)]
        inside = {key: value for key, value in inside.items() if not key.startswith(alone)}
    built = {part for key in keys if (part := _part(key))}
    last = max((part.removeprefix('stages.') for part in built if part[0] == 's'), default='')
    if norms == {f'norm{last}'}:
        inside = {re.sub(r'^norm\.', f'norm{last}.', k): v for k, v in inside.items()}
    for key in [key for key in inside if key not in keys]:
        part = _part(key)
        if _OPTIONAL.match(key) or (part and part not in built):
            del inside[key]
            dropped.append(key)
    return inside, dropped


def _part(key: str) -> str:
    """Return ``stages.<i>`` or ``downsamples.<i>`` if ``key`` belongs to one, else nothing."""
    match = re.match(r'(?:stages|downsamples)\.\d+', key)
    return match.group() if match else ''


def _fit_whole(state: dict[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return what of a whole model's ``state`` belongs to ``model``, and the names left out.

    Only the part under ``backbone.`` has optional keys; the rest must fit as it is.
    """
    inside, dropped = _fit_backbone(
        {key: value for key, value in state.items() if key.startswith('backbone.')},
        set(model.get_submodule('backbone').state_dict()),
    )
    new = {f'backbone.{key}': value for key, value in inside.items()}
    new.update({key: value for key, value in state.items() if not key.startswith('backbone.')})
    return new, dropped


def _report_fit(
    own: dict[str, Tensor], new: dict[str, Tensor], dropped: list[str], path: str | Path
) -> LoadReport:
    """Compare the model's state with a file's.

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
    unexpected = [key for key in new if key not in own]
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
    return LoadReport(matched, kept, dropped)


def read_checkpoint(
    path: str | Path, map_location: object = None, weights: str | None = None
) -> dict[str, Any]:
    """Read a checkpoint for MMEngine's Runner, with the weights under ``state_dict`` in our names.

    Args:
        path: Local file in any layout that :func:`load_weights` knows.
        map_location: Ignored, since the Runner moves what it loads; part of MMEngine's signature.
        weights: Which set to put there; see :func:`load_weights`.

    Raises:
        InputError: As :func:`load_file`, or if the file does not hold ``weights``.
    """
    content = dict(load_file(path))
    state = state_dict_of(content, path, weights)
    if any(_OFFICIAL_KEY.match(key) for key in state):
        state = rename_official_keys(state)
    content['state_dict'] = state
    return content


def as_classifier(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return ``state`` in the form of a classifier, if ``model`` is one; else as it is.

    - An official classification file gets the classifier's prefixes.
    - Two heads become one where the model has one: their mean, whose logits are the mean of both.
    """
    head = getattr(model, 'head', None)
    if getattr(head, 'fc', None) is None or not hasattr(model, 'backbone'):
        return state
    if 'head.weight' in state:
        last = max(k[4] for k in model.get_submodule('backbone').state_dict() if k[:4] == 'norm')
        renamed = {}
        for key, value in state.items():
            for pattern, replacement in _CLASSIFIER_RULES:
                key = re.sub(pattern, replacement.format(last=last), key)
            renamed[key] = value
        state = renamed
    if 'head.fc_dist.weight' in state and not hasattr(head, 'fc_dist'):
        state = dict(state)
        for part in ('weight', 'bias'):
            second = state.pop(f'head.fc_dist.{part}')
            state[f'head.fc.{part}'] = (state[f'head.fc.{part}'] + second) / 2
    return state


def check_fit(model: nn.Module, state: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Return what of a whole model's ``state`` goes into ``model``.

    Raises:
        InputError: If a key is missing, unexpected or of another shape.
    """
    new, dropped = _fit_whole(as_classifier(state, model), model)
    _report_fit(model.state_dict(), new, dropped, path)
    return new


def load_weights(model: nn.Module, path: str | Path, weights: str | None = None) -> LoadReport:
    """Load a file of weights into a CAS-ViT, or into a model that has one as ``backbone``.

    Official files (classification or dense form), checkpoints of our own training runs and
    safetensors are recognised by their keys. A classification file goes into ``model.backbone``,
    and into the head of a classifier; a file of a whole detector, segmentor or classifier fills
    the whole model, or only the backbone where ``model`` is one.

    Args:
        model: A :class:`~casvit_mm.CASViT`, or a module with a CAS-ViT as ``backbone``.
        path: The file.
        weights: ``'ema'`` for the moving average, ``'raw'`` for the weights of the last step; None
            takes the average of a training run of ours, and ``model`` of an official file.

    Returns:
        The keys matched, kept and dropped. Only output norms can be kept: the classification form
        has none.

    Raises:
        InputError: If the file cannot be read, a key of the model is missing, or a shape differs;
            the message counts the matched keys. The model is left untouched then.
    """
    state = as_classifier(read_checkpoint(path, weights=weights)['state_dict'], model)
    backbone = getattr(model, 'backbone', None)
    if backbone is not None and any(key.startswith('backbone.') for key in state):
        target = model
        new, dropped = _fit_whole(state, model)
    else:
        target = model if backbone is None else backbone
        new, dropped = _fit_backbone(state, set(target.state_dict()))
    own = target.state_dict()
    report = _report_fit(own, new, dropped, path)
    target.load_state_dict({**own, **new})
    return report
