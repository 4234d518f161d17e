"""The registry of token mixers, and how one is built for a block.

A token mixer lets the tokens of a feature map see each other. All share one contract,
``(B, C, H, W) -> (B, C, H, W)`` for any ``H`` and ``W``, and are built as
``Mixer(dim, **options)``. One of your own joins by ``@TOKEN_MIXERS.register_module()``. One with an
inference form has ``fuse_norm(norm)``, which :func:`casvit_mm.fuse` calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import Registry
from torch import nn

__all__ = ['TOKEN_MIXERS', 'build_token_mixer']

TOKEN_MIXERS = Registry('token mixer', scope='casvit_mm')


def build_token_mixer(cfg: Mapping[str, Any], dim: int) -> nn.Module:
    """Build a registered token mixer and try it on a small map.

    Args:
        cfg: ``type``, a name in :data:`TOKEN_MIXERS`, and the options of that class.
        dim: Number of channels.

    Raises:
        ValueError: If there is no mixer of that name, or it changes the shape of its input.
    """
    options = dict(cfg)
    name = options.pop('type', None)
    known = sorted(TOKEN_MIXERS.module_dict)
    if name not in known:
        raise ValueError(
            f'unknown token mixer {name!r}, expected one of {", ".join(known)}; one of your own '
            'needs @TOKEN_MIXERS.register_module() and its module in custom_imports'
        )
    mixer = TOKEN_MIXERS.module_dict[name](dim, **options)
    x = torch.zeros(1, dim, 5, 7)
    with torch.no_grad():
        out = mixer.eval()(x)
    if out.shape != x.shape:
        raise ValueError(
            f'token mixer {name} makes {tuple(out.shape)} of {tuple(x.shape)}; it must keep the '
            'shape (B, C, H, W), since the block adds its output to its input'
        )
    return mixer.train()
