"""torchrun, with its conditions checked first and its end kept readable.

``python -m casvit_mm.launch [torchrun options] SCRIPT [arguments]`` takes what ``torchrun`` takes.
More processes than GPUs, or a port that is in use, end at once with one message; when a process
fails, its own message is the last thing printed instead of the launcher's traceback. SIGTERM,
Ctrl-C and SIGHUP are passed on, and the processes get the time they need to save their state; a
second Ctrl-C ends them at once. If the launcher itself is killed, they get SIGTERM. A signal that
is ignored, as ``nohup`` does, stays ignored.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import torch
from torch.distributed import run
from torch.distributed.elastic.multiprocessing import PContext, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from casvit_mm.cli import cli
from casvit_mm.distributed import too_few_gpus
from casvit_mm.distributed.processes import PARENT
from casvit_mm.errors import InputError

__all__ = ['check_launch', 'main']

# Seconds from SIGTERM to SIGKILL: one training iteration, on a CPU maybe a long one, and a
# checkpoint must fit.
_GRACE = 600
_start, _close = PContext.start, PContext.close


def check_launch(processes: int, node_rank: int, address: str, port: int) -> None:
    """Refuse a launch that cannot work on this host.

    Args:
        processes: Processes to start here.
        node_rank: Number of this host; only host 0 opens the port.
        address: Host that every process connects to.
        port: Its port.

    Raises:
        InputError: If there are fewer GPUs than processes (a host without any runs on its CPU), or
            the port is in use.
    """
    if processes < 1:
        raise InputError(f'the number of processes must be at least 1, got {processes}')
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise InputError(too_few_gpus(processes))
    if node_rank == 0:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise InputError(
                    f'port {port} on {address} cannot be opened: {error.strerror}. Another run may '
                    f'use it; choose one: PORT={port + 1} tools/dist_train.sh ...'
                ) from error


def _patient_close(
    self: PContext, death_sig: signal.Signals | None = None, timeout: int = 30
) -> None:
    """Close as torchrun does, but wait longer where a signal, not a failure, ends the run.

    Another signal in the meantime is passed on too; if it is Ctrl-C, as SIGKILL.
    """
    if isinstance(sys.exc_info()[1], SignalException):
        timeout = _GRACE
    while True:
        try:
            return _close(self, death_sig, timeout)
        except SignalException as another:
            death_sig = another.sigval
            if death_sig == signal.SIGINT:
                death_sig = signal.SIGKILL


def _start_ignoring(self: PContext) -> None:
    """Start as torchrun does, but let signals that are ignored be so, here and in the processes."""
    ignored = [
        signum
        for signum in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(signum) == signal.SIG_IGN
    ]
    start = self._start

    def start_processes() -> None:
        for signum in ignored:
            signal.signal(signum, signal.SIG_IGN)
        start()

    self._start = start_processes  # type: ignore[method-assign]
    _start(self)


def main() -> None:
    """Check, then run torchrun on the same arguments.

    Raises:
        InputError: As :func:`check_launch`, or if an argument is not a number.
    """
    args = run.parse_args(sys.argv[1:])
    try:
        processes, node_rank = int(args.nproc_per_node), int(args.node_rank)
    except ValueError as error:
        raise InputError(f'GPUS and NODE_RANK must be numbers: {error}') from error
    check_launch(processes, node_rank, args.master_addr or '127.0.0.1', args.master_port or 29500)
    # torchrun has no option for either.
    PContext.close = _patient_close  # type: ignore[method-assign]
    PContext.start = _start_ignoring  # type: ignore[method-assign]
    os.environ[PARENT] = str(os.getpid())
    try:
        run.run(args)
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:
        sys.exit(128 + error.sigval)


if __name__ == '__main__':
    cli(main)
