"""SIGTERM, Ctrl-C and SIGHUP, deferred until the state of a run can be saved.

Schedulers and launchers end a run with SIGTERM, a person with Ctrl-C (SIGINT), and a terminal that
closes with SIGHUP. A signal that was ignored when the run began, as ``nohup`` does, stays ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue

import torch
from mmengine.dist import all_reduce, get_world_size

from casvit_mm.distributed.group import lost_connection

__all__ = [
    'deferring_signals',
    'exit_status',
    'highest',
    'outlive_signals',
    'signal_received',
]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NOTE = b'\nCtrl-C: saving after this iteration. Press it again to end at once, without saving.\n'

# Number of the first signal that came, 0 for none.
_received = 0
# The process that defers its signals.
_owner = 0
# Shared with the workers of a DataLoader, which are forked from this process.
_deferring = RawValue('b', 0)


def exit_status(signum: int) -> int:
    """Return what a shell reports for a process that a signal ended, e.g. 143 for SIGTERM."""
    return 128 + signum


@contextmanager
def deferring_signals() -> Iterator[None]:
    """Remember the signals inside the block instead of ending; only in the main thread.

    Ctrl-C after any of them ends the process at once.
    """
    global _received, _owner
    _received, _owner = 0, os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    previous = {
        signum: signal.signal(signum, _take_note)
        for signum in _SIGNALS
        if signal.getsignal(signum) != signal.SIG_IGN
    }
    _deferring.value = 1
    try:
        yield
    except Exception as error:
        # The launcher that sent the signal says which process was lost.
        if _received and lost_connection(error):
            raise SystemExit(exit_status(_received)) from error
        raise
    finally:
        _deferring.value = 0
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _take_note(signum: int, frame: object) -> None:
    global _received
    if os.getpid() != _owner:
        # A process forked by a metric or a transform: multiprocessing.Pool ends its own by SIGTERM.
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)
    _received = _received or signum
    if signal.getsignal(signal.SIGINT) == _take_note:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if signum == signal.SIGINT and os.environ.get('RANK', '0') == '0':
        os.write(2, _NOTE)  # print could be inside a print that the signal interrupted


def signal_received() -> int:
    """Return the number of the signal that came since :func:`deferring_signals` began, or 0."""
    return _received


def highest(number: int) -> int:
    """Return the highest number that a process of the run gives; every process must call this."""
    if get_world_size() == 1:
        return number
    flag = torch.tensor(number)
    all_reduce(flag, op='max')
    return int(flag)


def outlive_signals(worker_id: int) -> None:
    """Let a worker of a DataLoader survive the signals while its parent defers them.

    Terminals, schedulers and ``timeout`` signal every process of a job, and a worker that dies
    takes the training process down with it before that has saved anything.

    Args:
        worker_id: Unused; what DataLoader calls its ``worker_init_fn`` with.
    """

    def leave(signum: int, frame: object) -> None:
        if not _deferring.value:
            os._exit(0)  # as torch's own handler; anything else is an error to the parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, leave)
