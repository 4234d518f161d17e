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
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch.distributed import run
from torch.distributed.elastic.multiprocessing import PContext, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from casvit_mm.cli import cli
from casvit_mm.distributed.group import too_few_gpus
from casvit_mm.distributed.peers import Ended, Peers
from casvit_mm.distributed.processes import PARENT
from casvit_mm.errors import InputError

__all__ = ['check_hosts', 'check_launch', 'main']

# Seconds from SIGTERM to SIGKILL: one training iteration, on a CPU maybe a long one, and a
# checkpoint must fit.
_GRACE = 600
_start, _close = PContext.start, PContext.close
# Seconds until a host that does not answer is taken for lost and the others have ended.
_TIMEOUT = 60.0
# The share of it to notice, and again to end; the rest is for what both take beside.
_SHARE = 0.4
# Statuses after SIGHUP, SIGINT and SIGTERM.
_SIGNALS = (129, 130, 143)


def check_launch(processes: int, node_rank: int, address: str, port: int) -> None:
    """Refuse a launch that cannot work on this host.

    Args:
        processes: Processes to start here.
        node_rank: Number of this host; only host 0 opens the port.
        address: Host that every process connects to.
        port: Its port.

    Raises:
        InputError: If there are fewer GPUs than processes (a host without any runs on its CPU), or
            the port does not exist or is in use.
    """
    if processes < 1:
        raise InputError(f'the number of processes must be at least 1, got {processes}')
    if not 0 < port < 2**16:
        raise InputError(f'PORT must be from 1 to {2**16 - 1}, got {port}')
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


def check_hosts(hosts: str, node_rank: int) -> None:
    """Refuse a number of hosts, or a number of this host, that does not exist.

    Args:
        hosts: As torchrun takes it: ``'2'``, or ``'1:4'`` for at least 1 and at most 4.
        node_rank: Number of this host, from 0.

    Raises:
        InputError: Saying what both must be.
    """
    match = re.fullmatch(r'(\d+)(?::(\d+))?', hosts)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise InputError(f'NNODES must be a number of hosts, such as 2 or 1:4, got {hosts!r}')
    if not 0 <= node_rank < most:
        raise InputError(
            f'NODE_RANK must be from 0 to {most - 1} on {most} host(s) (NNODES), got {node_rank}'
        )


class _State:
    """What this launcher knows of its run, for the methods of torchrun that are replaced below.

    Args:
        seconds: Until a host that does not answer is lost and the others have ended.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.here = Ended((), socket.gethostname())
        self.peers: Peers | None = None
        self.news: Ended | None = None

    def join(self, envs: Mapping[int, Mapping[str, str]]) -> None:
        """Connect to the launchers of the other hosts, if there are any."""
        env = envs[0]
        ranks = tuple(int(each['RANK']) for each in envs.values())
        self.here = Ended(ranks, socket.gethostname())
        if int(env['GROUP_WORLD_SIZE']) == 1:
            return
        try:
            self.peers = Peers(env, ranks, _SHARE * self.seconds, self.hear)
        except (OSError, RuntimeError) as error:
            _print(f'warning: the launcher of host 0 cannot be asked for a sign of life: {error}')
        else:
            self.here = self.peers.here

    def hear(self, ended: Ended) -> None:
        """End this host too, because processes of another one have ended."""
        self.news = ended
        kind = 'error: ' if ended.status not in _SIGNALS else ''
        _print(f'{kind}{ended}. The processes of this host end too.')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * self.seconds)
        os._exit(ended.status)  # torchrun hangs; its processes get SIGTERM when it ends

    def fail(self, failures: Mapping[int, ProcessFailure]) -> Ended:
        """Tell the other hosts which process of this one has failed first, and return it.

        Args:
            failures: By rank or, in order, by local rank.
        """
        first = min(failures.values(), key=lambda failure: failure.timestamp)
        code = first.exitcode
        status, how = code, f'ended with status {code}'
        if code < 0:
            status, how = 128 - code, f'was ended by {signal.Signals(-code).name}'
        if code == -signal.SIGKILL:
            how += ' (kill -9, or out of memory)'
        rank = self.here.ranks[first.local_rank]
        ended = replace(self.here, ranks=(rank,), status=status, how=how)
        if self.peers:
            self.peers.tell(ended)
        return ended


def _print(message: str) -> None:
    print(f'\n{message}', file=sys.stderr, flush=True)


_state = _State(_TIMEOUT)


def _patient_close(
    self: PContext, death_sig: signal.Signals | None = None, timeout: int = 30
) -> None:
    """Close as torchrun does, but wait longer where a signal, not a failure, ends the run.

    Another signal in the meantime is passed on too; if it is Ctrl-C, as SIGKILL.
    """
    if isinstance(sys.exc_info()[1], SignalException):
        timeout = _GRACE
    elif failures := getattr(self, '_failures', None):
        _state.fail(failures)
    while True:
        if _state.news:
            timeout = round(_SHARE * _state.seconds)
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
    _state.join(self.envs)


def main() -> None:
    """Check, then run torchrun on the same arguments.

    Raises:
        InputError: As :func:`check_launch` and :func:`check_hosts`, or if an argument is no number.
    """
    args = run.parse_args(sys.argv[1:])
    try:
        processes, node_rank = int(args.nproc_per_node), int(args.node_rank)
    except ValueError as error:
        raise InputError(f'GPUS and NODE_RANK must be numbers: {error}') from error
    check_hosts(args.nnodes, node_rank)
    check_launch(processes, node_rank, args.master_addr or '127.0.0.1', args.master_port or 29500)
    # torchrun has no option for either.
    PContext.close = _patient_close  # type: ignore[method-assign]
    PContext.start = _start_ignoring  # type: ignore[method-assign]
    os.environ[PARENT] = str(os.getpid())
    _state.seconds = _read_timeout()
    try:
        run.run(args)
    except ChildFailedError as error:
        ended = _state.news or _state.fail(error.failures)
        # After an InputError its message is there already.
        if ended.status not in (2, *_SIGNALS) and not _state.news:
            _print(f'error: {ended}')
        sys.exit(ended.status)
    except SignalException as error:
        if _state.news:
            sys.exit(_state.news.status)
        name = signal.Signals(error.sigval).name
        told = replace(_state.here, status=128 + error.sigval, how=f'were told to end ({name})')
        if _state.peers:
            _state.peers.tell(told)
        sys.exit(told.status)
    finally:
        if _state.peers:
            _state.peers.leave()


def _read_timeout() -> float:
    """Return the seconds that ``PEER_TIMEOUT`` asks for.

    Raises:
        InputError: If it is no number, or below 2.
    """
    text = os.environ.get('PEER_TIMEOUT', str(_TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 2 <= seconds < 1e6:
        raise InputError(f'PEER_TIMEOUT must be a number of seconds from 2 on, got {text!r}')
    return seconds


if __name__ == '__main__':
    cli(main)
