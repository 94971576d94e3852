"""HTTP/1.1 on a connection before any application sees it: a request's head must come in time, and be one.

Uvicorn waits for ever for a head that was begun, or never is, after a reply too; here that is a 408 after
`head_timeout_ms`, and what is no HTTP a 400, one that is too long a 431, all ``application/problem+json`` like every other
refusal, after which the connection is closed. Parsed by llhttp: in Python alone the parsing costs more than the rest of a
small read.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from command_api.process.settings import Http

_HEAD_BYTES = 65_536


def bounded(settings: Http) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's ``http``."""

    class Bounded(_Bounded):
        head_s = settings.head_timeout_ms / 1000

    return Bounded


class _Bounded(HttpToolsProtocol):
    head_s: float
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0  # of the head under way, and what came with its end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._head_timer is not None and not self._passes_over:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES and b"\r\n\r\n" not in data:
                self._refuse(
                    431, "too-large", "Request header fields too large", f"the request's head exceeds {_HEAD_BYTES} bytes",
                    "send fewer or shorter headers",
                )  # fmt: skip
                return
        super().data_received(data)
        # Uvicorn's keep-alive ends with any byte: one that begins no request would hold the connection for ever.
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad-request", "Malformed request", msg, "send HTTP/1.1")

    @property
    def _passes_over(self) -> bool:
        """Whether what comes is the body of a request that was answered without it."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _await_head(self) -> None:
        """Have the timer run while a head is awaited; from its first byte on, however slowly it comes."""
        if self._head_timer is None and not self.transport.is_closing():
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.head_s, self._late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
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
