"""Files of weights: read without running code, renamed to our keys, loaded strictly.

The authors publish two forms. The classification form holds the trunk, one ``norm`` and up to two
heads; the dense form (detection, segmentation) holds the trunk under ``backbone.`` with one norm
per stage output. :data:`KEY_RULES` is the only place that knows their names.

A training file may hold two sets of weights, those of the last step (raw) and their moving average
(EMA): official files under ``model`` and ``model_ema``, MMEngine's under ``ema_state_dict`` and
``state_dict``.
"""

from __future__ import annotations

import argparse
import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from casvit_mm.errors import InputError

__all__ = [
    'KEY_RULES',
    'WEIGHT_SETS',
    'LoadReport',
    'as_classifier',
    'check_fit',
    'class_names',
    'load_file',
    'load_weights',
    'read_checkpoint',
    'rename_official_keys',
    'state_dict_of',
]

# Entry of a safetensors file's metadata that holds what ``meta`` holds in a training file, as JSON.
SAFETENSORS_META = 'casvit_mm.meta'

MODEL_ZOO = 'https://github.com/Tianfang-Zhang/CAS-ViT/blob/main/MODEL_ZOO.md'

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
WEIGHT_SETS = {'ema': 'averaged (EMA)', 'raw': 'raw'}

# Harmless classes found in training files beside the weights. Nothing here can call a function
# named in the file; ``getattr`` and its kind never stand in this list.
_ALLOWED_CLASSES: list[Any] = [
    argparse.Namespace,
    Counter,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ('bool', 'int32', 'int64', 'float32', 'float64')),
]
# What rebuilds a NumPy scalar and a NumPy array; their module was renamed in NumPy 2.
_NUMPY_BUILDERS: tuple[Any, ...] = (np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0])


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


@contextmanager
def _allowing_harmless_classes() -> Iterator[None]:
    """Let ``torch.load(weights_only=True)`` accept the classes above inside the block."""
    if hasattr(torch.serialization, 'safe_globals'):
        builders = [
            (builder, f'numpy.{core}.multiarray.{builder.__name__}')
            for builder in _NUMPY_BUILDERS
            for core in ('core', '_core')
        ]
        with torch.serialization.safe_globals(_ALLOWED_CLASSES + builders):
            yield
    else:  # torch 2.4 can add classes, but not take them back
        # Newer torch allows codecs.encode by itself: it turns text into the bytes of a scalar.
        torch.serialization.add_safe_globals([*_ALLOWED_CLASSES, *_NUMPY_BUILDERS, codecs.encode])
        yield


def load_file(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without executing anything it contains.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote.

    Returns:
        The stored dictionary: a state dict, or a training file with one inside.

    Raises:
        InputError: If the file is missing, cut short, not a checkpoint, or holds a class that only
            executing code could rebuild.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f'file of weights {str(path)!r} does not exist.\n'
            f'Published weights: {MODEL_ZOO}; place the file at that path, give another path, or '
            'train without it: --from-scratch'
        )
    try:
        if path.suffix == '.safetensors':
            return _load_safetensors(path)
        with _allowing_harmless_classes():
            content = torch.load(path, map_location='cpu', weights_only=True)
    except UnpicklingError as error:
        refused = re.search(
            r'(?:GLOBAL|global|Unsupported class|Unsupported type) (\S+)', str(error)
        )
        if refused is None:
            raise _damaged(path, error) from error
        raise InputError(
            f'{str(path)!r} was not loaded: rebuilding {refused.group(1)!r} from it could run '
            'arbitrary code.\nSave its tensors alone, on a machine where you trust the file: '
            "torch.save(checkpoint['state_dict'], 'weights.pth')"
        ) from error
    except Exception as error:  # each format has its own way to fail on damaged bytes
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise InputError(f'{str(path)!r} holds a {type(content).__name__}, not a dictionary')
    return content


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Return a file's tensors, as a training file with ``meta`` where it has ours."""
    from safetensors import safe_open

    with safe_open(path, framework='pt') as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        meta = (file.metadata() or {}).get(SAFETENSORS_META)
    return tensors if meta is None else dict(state_dict=tensors, meta=json.loads(meta))


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(
        f'{str(path)!r} ({path.stat().st_size} bytes) is cut short or not a checkpoint: {reason}\n'
        'Copy or download it again, or name an older checkpoint.'
    )


def state_dict_of(
    content: Mapping[str, Any], path: str | Path, weights: str | None = None
) -> dict[str, Tensor]:
    """Return one set of weights of a training file, or the file itself if it is a state dict.

    Args:
        content: What :func:`load_file` returned.
        path: The file, for the message.
        weights: Which set; see :func:`load_weights`.

    Raises:
        InputError: If the file holds no tensors, or not the set that is asked for.
    """
    averaged = isinstance(content.get('ema_state_dict'), Mapping)
    # MMEngine exchanges the two sets when it saves, so that the averaged one is found first.
    places = {
        None: ('state_dict', 'model', 'model_ema'),
        'ema': ('state_dict', 'model_ema') if averaged else ('model_ema',),
        'raw': ('ema_state_dict',) if averaged else ('state_dict', 'model'),
    }
    if weights not in places:
        raise InputError(f'weights must be one of {list(WEIGHT_SETS)}, got {weights!r}')
    found = [key for key in places[weights] if isinstance(content.get(key), Mapping)]
    if not found and weights == 'ema':
        raise InputError(
            f'{str(path)!r} holds no averaged (EMA) weights; its training kept none, or they were '
            'left out when it was published. Ask for the raw ones, or name another file.'
        )
    state = {
        key.removeprefix('module.'): value
        for key, value in (content[found[0]] if found else content).items()
        if isinstance(value, Tensor) and key != 'steps'  # counts the updates of an average
    }
    if not state:
        raise InputError(f'{str(path)!r} holds no weights; its keys are {sorted(content)[:8]}')
    return state


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
            'Is it a CAS-ViT file of the same arch (XS, S, M and T differ in width), for the same '
            'method and number of classes?'
        )
        raise InputError('\n'.join(lines))
    return LoadReport(matched, kept, dropped)


def class_names(checkpoint: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the class names that a checkpoint of mmdet 3, or of mmdet 2, was trained on.

    Args:
        checkpoint: Content of the file.

    Returns:
        The names in the order of the model's outputs; None if the file holds none.
    """
    meta = checkpoint.get('meta') or {}
    names = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    if isinstance(names, str):  # mmdet 2 stored a single class so
        return (names,)
    return tuple(names) if names else None


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
