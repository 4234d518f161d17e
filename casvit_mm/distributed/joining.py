"""The hosts of a run find each other before anything is started, or are named.

torchrun waits for the others without a word. Here each launcher says whom it waits for, and after
a time that the user sets which hosts have not come.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from datetime import timedelta

from torch.distributed import TCPStore

from casvit_mm.distributed.network import is_own_address, resolve
from casvit_mm.errors import InputError

__all__ = ['join_hosts', 'reach_first_host', 'seconds_of']

_KEY = 'casvit_mm/joined'
# Seconds until it is first said who is missing, and from then on.
_QUIET, _EVERY = 10, 60


def seconds_of(variable: str, default: float, least: float) -> float:
    """Return the seconds that an environment variable asks for.

    Raises:
        InputError: If it is no number, or below ``least``.
    """
    text = os.environ.get(variable, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not least <= seconds < 1e6:
        raise InputError(f'{variable} must be a number of seconds from {least:g} on, got {text!r}')
    return seconds


def reach_first_host(address: str, port: int, seconds: float) -> None:
    """Wait until the launcher of host 0 accepts connections.

    Args:
        address: Its name or address.
        port: Its port.
        seconds: How long to wait.

    Raises:
        InputError: If the address is of this host, or host 0 cannot be reached in this time.
    """
    waiting, why = _Waiting(seconds), 'not tried'
    while waiting.goes_on(f'host 0 at {address}:{port} ({why})'):
        try:
            if is_own_address(address):
                raise InputError(
                    f'MASTER_ADDR={address} ({resolve(address)}) is this host itself, which is not '
                    'host 0 (NODE_RANK). Give the address of host 0 as this host reaches it.'
                )
            socket.create_connection((address, port), timeout=5).close()
            return
        except OSError as error:
            why = error.strerror or str(error)
    raise InputError(
        f'host 0 at {address}:{port} (MASTER_ADDR, PORT) could not be reached for {seconds:g} s '
        f'(JOIN_TIMEOUT): {why}. Was the same command started there, with the same PORT, and do '
        'firewalls let these hosts connect to each other on all ports?'
    )


def join_hosts(address: str, port: int, node: int, nodes: int, seconds: float) -> TCPStore:
    """Wait until every host of a run of a fixed number of hosts is there.

    Args:
        address: Name or address of host 0.
        port: Its port.
        node: Number of this host.
        nodes: Number of hosts.
        seconds: How long to wait.

    Returns:
        A store, to be kept as long as the run: that of host 0 is its server, torchrun's too.

    Raises:
        InputError: If hosts do not come in this time, or two have the same number.
    """
    if node:
        reach_first_host(address, port, seconds)
    wait = timedelta(seconds=max(30, seconds))
    store = TCPStore(
        address, port, None, node == 0, timeout=wait, wait_for_workers=False, multi_tenant=True
    )
    try:
        if store.add(f'{_KEY}/{node}', 1) > 1:
            raise InputError(
                f'two hosts have NODE_RANK={node}; this, {socket.gethostname()}, is the second. '
                f'Give each host its own, from 0 to {nodes - 1}.'
            )
        missing = _wait_for_all(store, node, nodes, seconds)
    except RuntimeError as error:  # torch's DistError is one
        raise InputError(f'host 0 at {address}:{port} has ended while hosts joined') from error
    if missing:
        raise InputError(
            f'{_hosts(missing)} of {nodes} (NODE_RANK) did not come within {seconds:g} s '
            f'(JOIN_TIMEOUT). Start the same command on each host, with its NODE_RANK and with '
            f'MASTER_ADDR={address} PORT={port} NNODES={nodes}.'
        )
    return store


def _wait_for_all(store: TCPStore, node: int, nodes: int, seconds: float) -> list[int]:
    """Return the hosts that have not come, by what host 0 sees."""
    if node:
        waiting = _Waiting(2 * seconds)  # host 0 may have been started later
        while not store.check([_KEY]):
            if not waiting.goes_on('the other hosts, which host 0 names'):
                return [0]
        return [int(each) for each in store.get(_KEY).decode().split(',') if each]
    missing, waiting = list(range(nodes)), _Waiting(seconds)
    while waiting.goes_on(f'{_hosts(missing)} of {nodes} (NODE_RANK)'):
        missing = [each for each in missing if not store.check([f'{_KEY}/{each}'])]
        if not missing:
            break
    store.set(_KEY, ','.join(map(str, missing)))
    if missing:
        time.sleep(2)  # the others read it here
    return missing


class _Waiting:
    """Patience for some seconds, not in silence."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._start = seconds, time.monotonic()
        self._told = self._start + _QUIET - _EVERY
        self._looks = 0

    def goes_on(self, what: str) -> bool:
        """Sleep for a moment, but not the first time; return False when the time is over.

        Args:
            what: What is waited for, to be said now and then.
        """
        now = time.monotonic()
        if now >= self._start + self._seconds:
            return False
        if now >= self._told + _EVERY:
            self._told = now
            print(
                f'waiting for {what}, up to {self._seconds:g} s (JOIN_TIMEOUT)',
                file=sys.stderr,
                flush=True,
            )
        if self._looks:
            time.sleep(0.5)
        self._looks += 1
        return True


def _hosts(numbers: list[int]) -> str:
    return f'host{"s" * (len(numbers) > 1)} {", ".join(map(str, numbers))}'
