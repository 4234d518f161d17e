"""The worker processes of every data loader of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

import torch.distributed as dist
from torch.utils.data import DataLoader

from casvit_mm.distributed.processes import close_inherited_connections, die_with_parent
from casvit_mm.engine.interrupt import outlive_signals

__all__ = ['guard_workers', 'start_worker']


def guard_workers(loader: DataLoader) -> DataLoader:
    """Let the workers of a loader begin with :func:`start_worker`, and return the loader.

    What they began with before, the user's function or MMEngine's seeding, comes after it.
    """
    loader.worker_init_fn = partial(start_worker, then=loader.worker_init_fn)
    return loader


def start_worker(worker_id: int, then: Callable[[int], object] | None = None) -> None:
    """Let a worker end with its training process, and not before.

    Args:
        worker_id: Number of the worker.
        then: What else to call with it.
    """
    outlive_signals(worker_id)
    die_with_parent(signal.SIGKILL)
    if dist.is_available() and dist.is_initialized():
        close_inherited_connections()
    if then is not None:
        then(worker_id)
