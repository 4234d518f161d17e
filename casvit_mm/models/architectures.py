"""Depths, widths and strides of CAS-ViT, and the arguments that depend on the number of stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    'ARCHS',
    'resolve_arch',
    'resolve_out_indices',
    'resolve_token_mixers',
    'stage_stride',
]

ARCHS = {
    # The letters follow the paper: T is the largest variant, not "tiny".
    'xs': dict(depths=(2, 2, 4, 2), embed_dims=(48, 56, 112, 220)),
    's': dict(depths=(3, 3, 6, 3), embed_dims=(48, 64, 128, 256)),
    'm': dict(depths=(3, 3, 6, 3), embed_dims=(64, 96, 192, 384)),
    't': dict(depths=(3, 3, 6, 3), embed_dims=(96, 128, 256, 512)),
}


def stage_stride(stage: int) -> int:
    """Return the input pixels per position of a stage's output; stages count from 0."""
    return 4 * 2**stage


def resolve_arch(arch: str | dict) -> dict:
    """Return ``depths`` and ``embed_dims`` of a named or custom architecture.

    Raises:
        ValueError: If the name is unknown, or the two sequences are not positive integers of
            equal number.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'unknown arch {arch!r}, expected one of {sorted(ARCHS)}')
        return ARCHS[arch]
    if set(arch) != {'depths', 'embed_dims'}:
        raise ValueError(f'arch needs exactly depths and embed_dims, got {sorted(arch)}')
    if len(arch['depths']) != len(arch['embed_dims']) or not arch['depths']:
        raise ValueError(f'depths and embed_dims must have one entry per stage, got {arch}')
    if any(not isinstance(n, int) or n < 1 for n in (*arch['depths'], *arch['embed_dims'])):
        raise ValueError(f'depths and embed_dims must be positive integers, got {arch}')
    return arch


def resolve_out_indices(out_indices: Sequence[int], num_stages: int) -> tuple[int, ...]:
    """Return ``out_indices`` with negative entries counted from the end.

    Raises:
        ValueError: If it is empty, or names a stage twice or one that does not exist.
    """
    if isinstance(out_indices, int) or not out_indices:
        raise ValueError(f'out_indices must be a sequence of stage numbers, got {out_indices!r}')
    if any(not -num_stages <= i < num_stages for i in out_indices):
        raise ValueError(
            f'out_indices must be in [{-num_stages}, {num_stages - 1}], got {tuple(out_indices)}'
        )
    resolved = tuple(i % num_stages for i in out_indices)
    if len(set(resolved)) != len(resolved):
        raise ValueError(f'out_indices names a stage twice: {tuple(out_indices)}')
    return resolved


def resolve_token_mixers(
    token_mixer: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, num_stages: int
) -> list[Mapping[str, Any]]:
    """Return ``type`` and options of the token mixer of each stage.

    Raises:
        ValueError: If it is neither one mixer nor one for each stage.
    """
    if token_mixer is None:
        token_mixer = dict(type='AdditiveTokenMixer')
    if isinstance(token_mixer, Mapping):
        return [token_mixer] * num_stages
    if isinstance(token_mixer, str) or not all(isinstance(one, Mapping) for one in token_mixer):
        raise ValueError(
            f"token_mixer must be dict(type='...') or a sequence of them, got {token_mixer!r}"
        )
    if len(token_mixer) != num_stages:
        raise ValueError(
            f'token_mixer names {len(token_mixer)} mixers for {num_stages} stages; it takes one '
            'for each, also for stages that out_indices leaves out, or one for all'
        )
    return list(token_mixer)
