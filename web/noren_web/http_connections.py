"""HTTP/1.1 connections of our sites: whoever sends no request does not keep a place.

Promises: a connection whose next request has not begun to be served within `HEAD_SECONDS` is closed, whether
nothing was sent or a byte now and then. The server counts connections and refuses everybody beyond a number
of them; without this, that many idle ones would keep students from withdrawing for as long as anybody liked.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10


class PromptHttp(H11Protocol):
    """uvicorn's protocol on h11, with a time by which a request's head must be there."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._follow()

    def data_received(self, data: bytes) -> None:
        """Go on waiting until a whole head is there."""
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._follow()

    def shutdown(self) -> None:
        """End with the server. A TLS peer that does not say goodbye would keep it from ending."""
        super().shutdown()
        if self.conn.our_state is h11.CLOSED:  # no answer is under way
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _follow(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
