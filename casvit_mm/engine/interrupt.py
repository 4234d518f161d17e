"""SIGTERM, which schedulers and launchers end a run with, deferred until the state can be saved."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue

import torch
from mmengine.dist import all_reduce, get_world_size

__all__ = [
    'EXIT_STATUS',
    'outlive_sigterm',
    'sigterm_agreed',
    'sigterm_deferred',
    'sigterm_received',
]

# What a shell reports for a process that SIGTERM ended.
EXIT_STATUS = 128 + signal.SIGTERM

_received = False
# Shared with the workers of a DataLoader, which are forked from this process.
_deferring = RawValue('b', 0)


@contextmanager
def sigterm_deferred() -> Iterator[None]:
    """Remember SIGTERM inside the block instead of ending; only in the main thread."""
    global _received
    _received = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def take_note(signum: int, frame: object) -> None:
        global _received
        _received = True

    previous = signal.signal(signal.SIGTERM, take_note)
    _deferring.value = 1
    try:
        yield
    finally:
        _deferring.value = 0
        signal.signal(signal.SIGTERM, previous)


def sigterm_received() -> bool:
    """Return whether this process received SIGTERM since :func:`sigterm_deferred` was entered."""
    return _received


def sigterm_agreed() -> bool:
    """Return whether any process of the run received SIGTERM; every process must call this."""
    if get_world_size() == 1:
        return _received
    flag = torch.tensor(int(_received))
    all_reduce(flag, op='max')
    return bool(flag)


def outlive_sigterm(worker_id: int) -> None:
    """Let a worker of a DataLoader survive SIGTERM while its parent defers it.

    Schedulers and ``timeout`` signal every process of a job, and a worker that dies takes the
    training process down with it before that has saved anything.

    Args:
        worker_id: Unused; what DataLoader calls its ``worker_init_fn`` with.
    """

    def leave(signum: int, frame: object) -> None:
        if not _deferring.value:
            os._exit(0)  # as torch's own handler; anything else is an error to the parent

    signal.signal(signal.SIGTERM, leave)
