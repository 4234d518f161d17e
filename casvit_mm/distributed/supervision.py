"""What a launcher knows of its run, and what it changes in torchrun's agent.

On a fixed number of hosts a process that is lost ends the run on every host. An elastic run starts
again instead (``--max-restarts``, ``--nnodes=1:4``): the processes of every host are ended as soon
as one is known to be lost, and the agents meet again, with the hosts that are left or have come.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch.distributed import PrefixStore
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import PContext, SignalException
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from casvit_mm.distributed.peers import Ended, Peers

__all__ = ['INPUT_ERROR', 'SIGNALS', 'Run', 'patch_torchrun', 'say']

# Seconds from SIGTERM to SIGKILL: one training iteration, on a CPU maybe a long one, and a
# checkpoint must fit.
_GRACE = 600
# The share of the time that is set to notice a loss, and again to end; the rest is for what both
# take beside.
_SHARE = 0.4
_ADDRESS = 'casvit_mm/address'
# Status after an InputError, which another start would not change.
INPUT_ERROR = 2
# Statuses after SIGHUP, SIGINT and SIGTERM.
SIGNALS = (129, 130, 143)


class Run:
    """The run of a launcher, over all its starts.

    Args:
        seconds: Until a host that does not answer is lost and the others have ended.
        elastic: Whether the run starts again after a loss.
        address: Of this host, as the others reach it; empty if that is not known.

    Attributes:
        here: The processes of this host.
        peers: The launchers of the other hosts, if there are any.
        news: What has ended this host, if that was on another.
    """

    def __init__(self, seconds: float = 60, elastic: bool = False, address: str = '') -> None:
        self.seconds, self.elastic, self.address = seconds, elastic, address
        self.here = Ended((), socket.gethostname())
        self.peers: Peers | None = None
        self.news: Ended | None = None
        self._agent: Any = None
        self._starts = 0

    def join(self, agent: Any) -> None:
        """Connect to the launchers of the other hosts, once the processes of a start are there."""
        group = agent.get_worker_group()
        ranks = tuple(worker.global_rank for worker in group.workers)
        self.here = Ended(ranks, socket.gethostname())
        if group.group_world_size == 1:
            return
        # The store of an elastic run is another for every start.
        store = PrefixStore(f'start{0 if self.elastic else self._starts}', group.store)
        self._starts += 1
        nodes, address = group.group_world_size, group.master_addr
        try:
            self.peers = Peers(
                store, address, group.group_rank, nodes, ranks, _SHARE * self.seconds, self.hear
            )
        except (OSError, RuntimeError) as error:
            say(f'warning: the launcher of host 0 cannot be asked for a sign of life: {error}')
        else:
            self.here = self.peers.here

    def begin(self, agent: Any, group: Any) -> None:
        """Forget the start before, and agree on the address of the host of rank 0 in this one."""
        self._agent = agent
        self.leave()
        self.peers = self.news = None
        if self.elastic and group.group_world_size > 1:
            # torch 2.4 takes the host's name, which may be known to that host alone.
            if group.group_rank == 0:
                group.store.set(_ADDRESS, self.address or group.master_addr)
            group.master_addr = group.store.get(_ADDRESS).decode()

    def leave(self) -> None:
        """Tell the other hosts that this one is done."""
        if self.peers:
            self.peers.leave()

    def hear(self, ended: Ended) -> None:
        """End the processes of this host too, because some of another one have ended."""
        kind = 'error: ' if ended.status not in SIGNALS else ''
        if self.elastic and ended.status != INPUT_ERROR:
            say(f'{kind}{ended}. The processes of this host end too, to start again.')
            self._kill_processes()
            return
        self.news = ended
        say(f'{kind}{ended}. The processes of this host end too.')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * self.seconds)
        os._exit(ended.status)  # torchrun hangs; its processes get SIGTERM when it ends

    def _kill_processes(self) -> None:
        """End the processes of this host at once: they wait for one that is lost."""
        for pid in self._agent._pcontext.pids().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

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
        if self.peers and not (self.elastic and status in SIGNALS):
            self.peers.tell(ended)
        return ended

    def allowance(self, failures: Mapping[int, ProcessFailure], left: int) -> int:
        """Return how often an elastic run may still start again, before this loss is counted.

        Args:
            failures: The processes that have failed.
            left: Starts that are left.
        """
        codes = {failure.exitcode for failure in failures.values()}
        if INPUT_ERROR in codes:
            return 0
        # All have saved and ended since a host came or was told to go, which is no failure.
        return left + 1 if codes <= set(SIGNALS) else left


def say(message: str) -> None:
    """Print what a person should see of the launcher."""
    print(f'\n{message}', file=sys.stderr, flush=True)


def patch_torchrun(run: Run) -> None:
    """Make torchrun's agent do what it has no option for, until this process ends."""
    start, close = PContext.start, PContext.close
    start_workers, monitor = LocalElasticAgent._start_workers, LocalElasticAgent._monitor_workers

    def patient_close(
        self: PContext, death_sig: signal.Signals | None = None, timeout: int = 30
    ) -> None:
        """Close as torchrun does, but wait longer where it is no failure that ends the processes.

        Another signal in the meantime is passed on too; if it is Ctrl-C, as SIGKILL.
        """
        failures = getattr(self, '_failures', None)
        if isinstance(sys.exc_info()[1], SignalException):
            timeout = _GRACE
        elif failures:
            run.fail(failures)
        elif run.elastic and sys.exc_info()[1] is None:  # another host has come
            timeout = _GRACE
        while True:
            if run.news:
                timeout = round(_SHARE * run.seconds)
            try:
                return close(self, death_sig, timeout)
            except SignalException as another:
                death_sig = another.sigval
                if death_sig == signal.SIGINT:
                    death_sig = signal.SIGKILL

    def start_ignoring(self: PContext) -> None:
        """Start as torchrun does, but let signals that are ignored be so in the processes too."""
        ignored = [
            signum
            for signum in (signal.SIGINT, signal.SIGHUP)
            if signal.getsignal(signum) == signal.SIG_IGN
        ]
        start_here = self._start

        def start_processes() -> None:
            for signum in ignored:
                signal.signal(signum, signal.SIG_IGN)
            start_here()

        self._start = start_processes  # type: ignore[method-assign]
        start(self)

    def start_and_join(self: LocalElasticAgent, worker_group: Any) -> Any:
        """Start the processes, then connect to the other launchers."""
        run.begin(self, worker_group)
        pids = start_workers(self, worker_group)
        run.join(self)
        return pids

    def monitor_and_count(self: LocalElasticAgent, worker_group: Any) -> Any:
        """Look after the processes; an error of the user is no reason to start again."""
        result = monitor(self, worker_group)
        if run.elastic and result.is_failed():
            self._remaining_restarts = run.allowance(result.failures, self._remaining_restarts)
        return result

    PContext.close, PContext.start = patient_close, start_ignoring  # type: ignore[method-assign]
    LocalElasticAgent._start_workers = start_and_join  # type: ignore[method-assign]
    LocalElasticAgent._monitor_workers = monitor_and_count  # type: ignore[method-assign]
