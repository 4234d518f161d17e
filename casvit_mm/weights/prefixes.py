"""Prefixes that wrappers put before the names of weights, found by what stands behind them.

``model.`` of Lightning, ``timm_model.``, ``encoder.`` and the like: there is no list of them. It is
the prefix under which the names of a CAS-ViT are, or those of the model at hand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from casvit_mm.errors import InputError, first_names

__all__ = ['Stripped', 'fitting_prefix', 'strip_prefix']

# The trunk of a CAS-ViT, ours or the authors', behind whatever a wrapper has put before it.
_TRUNK = re.compile(
    r'((?:[^.]+\.)*?)(?:backbone\.)?'
    r'(?:stages\.\d+\.\d+\.(?:local_integration|token_mixer)|network\.\d\.\d+\.(?:local_perc|attn\.))'
)


class Stripped(NamedTuple):
    """Weights without the prefix of a wrapper.

    Attributes:
        state: By the names behind it.
        note: What was taken off, for the user; empty if nothing.
    """

    state: dict[str, Tensor]
    note: str


def strip_prefix(state: Mapping[str, Tensor], path: str | Path) -> Stripped:
    """Take off what stands before the trunk of a CAS-ViT.

    A trunk alone among other parts, as ``encoder.`` beside ``decoder.``, gets the prefix
    ``backbone.``, and the others stay as they are; of a whole model, what is outside the prefix is
    left out.

    Args:
        state: Of a file.
        path: The file, for the message.

    Raises:
        InputError: If there are several trunks, none of them without a prefix.
    """
    # torch.compile adds its own to each module that it compiles.
    state = {re.sub(r'(^|(?<=\.))_orig_mod\.', '', key): value for key, value in state.items()}
    found = Counter(match[1] for key in state if (match := _TRUNK.match(key)))
    if not found or '' in found:
        return Stripped(state, '')
    if len(found) > 1:
        first = next(iter(found))
        raise InputError(
            f'{str(path)!r} holds {len(found)} networks, under {first_names(list(found), 4)}, and '
            'does not tell which one is meant. Save one of them: '
            f'{{k.removeprefix({first!r}): v for k, v in state.items() if k.startswith({first!r})}}'
        )
    (prefix,) = found
    inside, outside = _parted(state, prefix)
    if not outside:
        return Stripped(inside, f'the prefix {prefix!r} was taken off its {len(inside)} keys')
    if any(key.startswith('backbone.') for key in inside):
        left = f'{len(outside)} outside it were left out ({first_names(list(outside), 2)})'
        return Stripped(
            inside, f'the prefix {prefix!r} was taken off {len(inside)} of its keys; {left}'
        )
    inside = {f'backbone.{key}': value for key, value in inside.items()}
    return Stripped(
        {**inside, **outside}, f'{prefix!r} was read as the backbone, {len(inside)} of its keys'
    )


def _parted(
    state: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what is under a prefix, without it, and the rest."""
    inside, outside = {}, {}
    for key, value in state.items():
        if key.startswith(prefix):
            inside[key.removeprefix(prefix)] = value
        else:
            outside[key] = value
    return inside, outside


def fitting_prefix(keys: Iterable[str], own: Iterable[str]) -> str:
    """Return the prefix under which all names of a model are in a file; empty if there is none.

    Args:
        keys: Of the file.
        own: Of the model.
    """
    keys, own = set(keys), list(own)
    endings = [key for key in keys if key.endswith(f'.{own[0]}')] if own else []
    for key in sorted(endings, key=len):
        prefix = key.removesuffix(own[0])
        if all(prefix + name in keys for name in own):
            return prefix
    return ''
