"""The launchers of a run on several hosts, each of which learns how the others end.

The launcher of host 0 has a TCP connection to that of every other host, and hands on what it hears.
What is said is why a launcher ends; its sign of life is left to the kernels: they answer each other
on an idle connection, however busy the training processes are, and close it when a process dies.
The connection is apart from those of the process group, whose collectives may take their time.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from torch.distributed import Store

__all__ = ['KILLED', 'Ended', 'Peers']

# Exit status of a run that has lost a process or a host: what a shell reports after kill -9.
KILLED = 137
_KEY = 'casvit_mm/peers'


@dataclass(frozen=True)
class Ended:
    """Processes that have ended before their time.

    Attributes:
        ranks: Their ranks.
        host: Name and address of their host.
        status: Exit status that the run ends with.
        how: What happened, e.g. ``'ended with status 2'``.
    """

    ranks: tuple[int, ...]
    host: str
    status: int = KILLED
    how: str = ''

    def __str__(self) -> str:
        if not self.ranks:
            return f'the processes of host {self.host} {self.how}'
        numbers = ', '.join(map(str, self.ranks))
        return f'rank{"s" * (len(self.ranks) > 1)} {numbers} on host {self.host} {self.how}'


@dataclass
class _Connection:
    """A connection to another launcher.

    Attributes:
        socket: It.
        peer: Whose it is, once that has said so.
        unread: What has come of an unfinished line.
    """

    socket: socket.socket
    peer: Ended | None = None
    unread: bytes = b''


class Peers:
    """The connections of a launcher to those of the other hosts.

    Args:
        store: What the launchers of this start of the run share, and no other start.
        address: Name or address of host 0.
        node: Number of this host.
        nodes: Number of hosts.
        ranks: Ranks of the processes of this host.
        seconds: Time until a host that does not answer is taken for lost.
        act: What to do when processes elsewhere have ended, called once, in another thread.

    Attributes:
        here: The processes of this host.
        missing: Hosts that have not connected to host 0 yet; empty on the others.

    Raises:
        OSError: If the launcher of host 0 cannot be reached.
        RuntimeError: If the store cannot be.
    """

    def __init__(
        self,
        store: Store,
        address: str,
        node: int,
        nodes: int,
        ranks: tuple[int, ...],
        seconds: float,
        act: Callable[[Ended], None],
    ) -> None:
        self._seconds, self._act, self._over = seconds, act, False
        self._node, self._nodes, self._store = node, nodes, store
        self._selector = selectors.DefaultSelector()
        self._connections: list[_Connection] = []
        self._said = threading.Event()  # what there was to say is on its way
        self._server: socket.socket | None = None
        self._lock = threading.Lock()
        self.missing: set[int] = set()
        here = self._listen(address) if self._node == 0 else self._connect(address)
        self.here = Ended(ranks, f'{socket.gethostname()} ({here})')
        self._hello = dict(hello=asdict(self.here), node=self._node, token=self._token)
        if self._node:
            self._send(self._connections, self._hello)
        self._missed_at = time.monotonic() + seconds
        threading.Thread(target=self._run, daemon=True).start()

    def _listen(self, address: str) -> str:
        """Accept connections, and publish where and the word by which a launcher is known."""
        family = socket.getaddrinfo(address, None)[0][0]
        server = self._server = socket.create_server(('', 0), family=family)
        self._selector.register(server, selectors.EVENT_READ, server)
        self.missing = set(range(1, self._nodes))
        self._token = secrets.token_hex(8)
        self._store.set(_KEY, f'{server.getsockname()[1]} {self._token}')
        return address

    def _connect(self, address: str) -> str:
        """Connect to the launcher of host 0, and return the address of this host."""
        self._store.wait([_KEY], timedelta(seconds=max(self._seconds, 10)))
        port, self._token = self._store.get(_KEY).decode().split()
        try:
            connection = socket.create_connection((address, int(port)), timeout=self._seconds)
        except OSError:
            self._store.set(f'{_KEY}/{self._node}', 'unreachable')
            raise
        self._add(connection)
        return connection.getsockname()[0]

    def tell(self, ended: Ended) -> None:
        """Tell the others that processes of this host have ended; only the first time counts."""
        if not self._over:
            self._over = True
            self._send(self._connections, dict(ended=asdict(ended)))
            self._said.set()

    def leave(self) -> None:
        """Tell the others that this host is done."""
        if not self._over:
            self._over = True
            self._send(self._connections, dict(bye=True))
            self._said.set()

    def _send(self, connections: list[_Connection], message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b'\n'
        with self._lock:
            for connection in list(connections):
                with contextlib.suppress(OSError):  # its end is noticed where it is read
                    connection.socket.sendall(line)

    def _add(self, accepted: socket.socket) -> None:
        _watch(accepted, self._seconds)
        connection = _Connection(accepted)
        self._connections.append(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _drop(self, connection: _Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(timeout=0.5):
                if isinstance(key.data, socket.socket):
                    self._add(key.data.accept()[0])
                    continue
                try:
                    self._read(key.data)
                except (ValueError, KeyError, TypeError):  # a stranger
                    self._drop(key.data)
            if self._node == 0 and time.monotonic() > self._missed_at:
                self._miss_those_who_never_came()
        self._said.wait(10)
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()
        if self._server:
            self._server.close()

    def _read(self, connection: _Connection) -> None:
        try:
            received, how = connection.socket.recv(65536), 'ended: the launcher there was killed'
        except OSError as error:
            received, how = b'', f'gave no answer: the host or the network is down ({error})'
        if not received:
            self._drop(connection)
            if connection.peer is not None:
                self._end(replace(connection.peer, how=how))
            return
        *lines, connection.unread = (connection.unread + received).split(b'\n')
        for line in lines:
            self._hear(connection, json.loads(line))

    def _hear(self, connection: _Connection, message: dict[str, Any]) -> None:
        if connection.peer is None:
            if message['token'] != self._token:
                raise ValueError('not a launcher of this run')
            connection.peer = _ended(message['hello'])
            if self._node == 0:
                self.missing.discard(message['node'])
                self._send([connection], self._hello)
        elif 'ended' in message:
            self._end(_ended(message['ended']), connection)
        else:
            self._drop(connection)

    def _end(self, ended: Ended, said_by: _Connection | None = None) -> None:
        if not self._over:
            self._over = True
            others = [connection for connection in self._connections if connection != said_by]
            self._send(others, dict(ended=asdict(ended)))
            self._said.set()
            self._act(ended)

    def _miss_those_who_never_came(self) -> None:
        missing, self.missing = self.missing, set()
        for node in missing:
            if not self._store.check([f'{_KEY}/{node}']):
                host = f'number {node} (NODE_RANK)'
                self._end(Ended((), host, how='never came: their launcher did not connect'))


def _ended(values: dict[str, Any]) -> Ended:
    return Ended(**{**values, 'ranks': tuple(values['ranks'])})


def _watch(connection: socket.socket, seconds: float) -> None:
    """Let the kernel close a connection whose other end has not answered for some seconds."""
    limit = max(2, round(seconds))
    idle, interval = max(1, limit // 3), max(1, limit // 8)
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ('TCP_KEEPIDLE', idle),
        ('TCP_KEEPALIVE', idle),  # its name on macOS
        ('TCP_KEEPINTVL', interval),
        ('TCP_KEEPCNT', max(1, (limit - idle) // interval)),
        ('TCP_USER_TIMEOUT', 1000 * limit),
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
