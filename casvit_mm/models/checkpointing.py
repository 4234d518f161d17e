"""Gradient checkpointing that moves the running statistics of BatchNorm once per step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from mmengine.utils import digit_version
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ['checkpointed']


@contextmanager
def _without_running_stats(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise as it would, without moving its running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """Run ``block`` and recompute it in the backward pass instead of storing its activations."""
    if torch.compiler.is_compiling():
        # A compiled backward pass recomputes what it needs and leaves the statistics alone.
        return checkpoint(block, x, use_reentrant=False)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        # The second forward sees the same batch: counting it again would move the running
        # statistics twice per step.
        return nullcontext(), _without_running_stats(block)

    return checkpoint(block, x, use_reentrant=False, context_fn=contexts)


if digit_version(torch.__version__) < digit_version('2.11'):
    # Compiled by torch 2.4, they move twice; versions between the two were not tried. So the blocks
    # that are checkpointed stay uncompiled there.
    checkpointed = torch.compiler.disable(checkpointed)
