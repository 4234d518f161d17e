"""uvicorn's protocol of HTTP, for clients that begin a request and never finish its head."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ['ImpatientProtocol']


class ImpatientProtocol(H11Protocol):
    """A connection that is closed if the head of a request takes longer than ``seconds``.

    uvicorn waits for it without end, so that a thousand such connections would keep others out.
    """

    def __init__(self, *args: Any, seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = seconds
        self._idle_since: Any = None  # the last request that had been answered at the last look
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is self._idle_since:
            self.transport.close()
            return
        self._idle_since = self.cycle if is_idle else self  # which is no request
        self._timer = self.loop.call_later(self._seconds, self._look)
