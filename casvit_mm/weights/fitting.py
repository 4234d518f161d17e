"""Which keys of a file belong to a model, and for which named reasons others may be left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from casvit_mm.weights.official_keys import output_norms

__all__ = ['PIXELS', 'fit_backbone', 'fit_whole']

_NO_BACKBONE = 'no part of a backbone'
_CLASSIFIER = "the classifier's; a backbone ends before it"
_CLASSIFIER_NORM = "the classifier's; a model of several outputs has norms of its own"
_NO_SUCH_OUTPUT = 'norm of an output that the model does not give'
_NO_SUCH_STAGE = 'the model ends at an earlier stage'
PIXELS = 'pixel means, which the config holds'

# A stage, and the downsampling before the next one.
_STAGE_KEY = re.compile(r'^(stages|downsamples)\.(\d+)\.')


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
    inside, dropped = _without_other_parts(state)
    norms = output_norms(keys)
    if len(norms) > 1:
        _drop_classifier_norm(inside, dropped)
    elif norms == {_last_stage(keys)}:
        inside = _with_norm_of_stage(inside, _last_stage(keys))
    built = {stage for key in keys if (stage := _stage_of(key))}
    for key in [key for key in inside if key not in keys]:
        reason = _why_needless(key, built)
        if reason:
            del inside[key]
            dropped[key] = reason
    return inside, dropped


def _without_other_parts(
    state: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a backbone's entries without the prefix ``backbone.``, and why others are left out."""
    if not any(key.startswith('backbone.') for key in state):
        return dict(state), {}  # a bare backbone, perhaps with a classifier's head
    inside, dropped = {}, {}
    for key, value in state.items():
        if key.startswith('backbone.'):
            inside[key.removeprefix('backbone.')] = value
        else:
            dropped[key] = _NO_BACKBONE
    return inside, dropped


def _drop_classifier_norm(inside: dict[str, Tensor], dropped: dict[str, str]) -> None:
    """Drop the output norm of a file that has a single one: its classifier was trained on it."""
    held = output_norms(inside)
    if len(held) == 1:
        prefix = f'norm{held.pop()}.'
        for key in [key for key in inside if key.startswith(prefix)]:
            del inside[key]
            dropped[key] = _CLASSIFIER_NORM


def _with_norm_of_stage(inside: dict[str, Tensor], stage: int) -> dict[str, Tensor]:
    """Return ``inside`` with the classifier's ``norm`` as the output norm of a stage."""
    return {re.sub(r'^norm\.', f'norm{stage}.', key): value for key, value in inside.items()}


def _last_stage(keys: Iterable[str]) -> int:
    """Return the index of the last stage of a backbone with these keys; -1 if it has none."""
    found = (_STAGE_KEY.match(key) for key in keys)
    return max((int(m.group(2)) for m in found if m and m.group(1) == 'stages'), default=-1)


def _stage_of(key: str) -> str:
    """Return ``stages.<i>.`` or ``downsamples.<i>.`` if ``key`` belongs to one, else nothing."""
    match = _STAGE_KEY.match(key)
    return match.group() if match else ''


def _why_needless(key: str, built: set[str]) -> str:
    """Return why a key that a backbone does not have may be in a file; nothing if it may not."""
    if output_norms([key]):
        return _NO_SUCH_OUTPUT
    if key.startswith('norm.'):
        return _CLASSIFIER_NORM
    if key.startswith(('head.', 'dist_head.')):
        return _CLASSIFIER
    stage = _stage_of(key)
    return _NO_SUCH_STAGE if stage and stage not in built else ''


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
