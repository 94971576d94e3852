"""HTTP/1.1 on a connection before any application sees it: a request's head must come in time, and be one.

Uvicorn waits for ever for a head that was begun, or never is, after a reply too; here that is a 408 after
`head_timeout_ms`, and what is no HTTP a 400, one that is too long a 431, all ``application/problem+json`` like every other
refusal, after which the connection is closed. Parsed by llhttp: in Python alone the parsing costs more than the rest of a
small read. An application may give a whole reply at once (`whole_reply`), which then is one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from weakref import ref

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from command_api.process.settings import Http

Headers = Sequence[tuple[bytes, bytes]]
WholeReply = Callable[[int, Headers, bytes], Awaitable[None]]
"""Sends status, headers (names in lower case, with content-length unless there is none), and the body, all of it."""

_HEAD_BYTES = 65_536
_TEXT = bytes({9, *range(32, 256)} - {127})  # what a header consists of
_WHOLE_REPLY = "lockstep.whole_reply"


def bounded(settings: Http) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's ``http``."""

    class Bounded(_Bounded):
        head_s = settings.head_timeout_ms / 1000

    return Bounded


def whole_reply(scope: Any) -> WholeReply | None:
    """What sends a request's reply in one go; None under another server, which takes ASGI's messages."""
    found: WholeReply | None = scope.get("extensions", {}).get(_WHOLE_REPLY)
    return found


async def _reply(of: ref[RequestResponseCycle], status: int, headers: Headers, body: bytes) -> None:
    """As two messages to `cycle.send`, which writes each by itself: a client is then woken twice."""
    cycle = of()
    assert cycle is not None, "a request under way"
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    headers = [*cycle.default_headers, *headers]
    if (b"connection", b"close") in headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        headers.append((b"connection", b"close"))
    head = b"".join([b"%s: %s\r\n" % header for header in headers])
    if head.translate(None, _TEXT) != b"\r\n" * len(headers):
        raise RuntimeError("a header has a control character in it")
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[status], head, body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class _Bounded(HttpToolsProtocol):
    head_s: float
    _head_until: float | None = None  # while one is awaited
    _head_timer: asyncio.TimerHandle | None = None  # looks then, and later when another one is awaited by then
    _head_bytes = 0  # of the head under way, and what came with its end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._head_until is not None and not self._passes_over:
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        extensions: dict[str, Any] = {_WHOLE_REPLY: partial(_reply, ref(cycle))}
        cycle.scope["extensions"] = extensions
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad-request", "Malformed request", msg, "send HTTP/1.1")

    @property
    def _passes_over(self) -> bool:
        """Whether what comes is the body of a request that was answered without it."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _await_head(self) -> None:
        """Have the time run while a head is awaited; from its first byte on, however slowly it comes."""
        if self._head_until is None and not self.transport.is_closing():
            self._head_bytes = 0
            self._head_until = self.loop.time() + self.head_s
            if self._head_timer is None:
                self._head_timer = self.loop.call_at(self._head_until, self._look)

    def _head_came(self) -> None:
        self._head_until = None

    def _look(self) -> None:
        """Whether the head is late. A timer a request would cost more than this one, which is seldom there for nothing."""
        self._head_timer = None
        if self._head_until is None:
            return
        if self.loop.time() < self._head_until:
            self._head_timer = self.loop.call_at(self._head_until, self._look)
        else:
            self._late()

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
