"""HTTP/1.1 on a connection before any application sees it: a request's head must come in time, and be one.

Uvicorn waits for ever for a head that was begun, or never is; here that is a 408 after `head_timeout_ms`, and what is no
HTTP a 400, both ``application/problem+json`` like every other refusal, after which the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from command_api.process.settings import Http


def bounded(settings: Http) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's ``http``."""

    class Bounded(_Bounded):
        head_s = settings.head_timeout_ms / 1000

    return Bounded


class _Bounded(H11Protocol):
    head_s: float
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch(begun=True)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch(begun=bool(self.conn.trailing_data[0]))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch(begun=bool(self.conn.trailing_data[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch(begun=False)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad-request", "Malformed request", msg, "send HTTP/1.1")

    def _watch(self, *, begun: bool) -> None:
        """Have the timer run exactly while a head is awaited; from its first byte on, however slowly it comes."""
        awaited = begun and self.conn.their_state is h11.IDLE
        if awaited and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self._late)
        elif not awaited and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._refuse(
            408,
            "request-timeout",
            "Request timeout",
            f"the request's head did not come within {self.head_s:g} s",
            "send it whole, on a new connection",
        )

    def _refuse(self, status: int, kind: str, title: str, detail: str, hint: str) -> None:
        if self.transport.is_closing():
            return
        problem = {"type": f"urn:lockstep:problem:{kind}", "title": title, "status": status, "detail": detail}
        body = msgspec.json.encode(problem | {"hint": hint})
        head = (
            f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
