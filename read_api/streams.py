"""``GET /read/{model}/{key}/changes``: a partition's changed rows as server-sent events, for as long as the client listens.

    event: snapshot   all rows that the same read without ``/changes`` gives: to begin with, and when nobody knows any more
                      what the client has
    event: change     rows that are new or different, and the keys of those that are gone
    id:               the covered position and a digest of the rows; sent back as Last-Event-ID it resumes without loss, at
                      any process

A client that is slower than its partition changes gets fewer, larger changes; one that takes nothing for SEND_SECONDS is
shed, and may come back. Who may read the partition may watch it; a token that expires ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from read_api.access import Access
from read_api.metrics import Metrics
from read_api.problem import InvalidRequestError, ProblemError, TooManyStreamsError, read_timeout
from read_api.request import ReadRequest
from read_api.rows import Reader
from read_api.service import ReadService
from read_api.subjects import Subjects
from read_api.watch import Watch
from read_api.watched import digest_of

SEND_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 15.0

_RETRY = b"retry: 1000\n\n"
_NOTHING = b": nothing has changed\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Streams:
    """The streams of a process, `most` at a time. open_s: the longest until the first row of one is known."""

    def __init__(self, service: ReadService, access: Access, most: int, open_s: float) -> None:
        self._service = service
        self._access = access
        self._most = most
        self._open = 0
        self._open_s = open_s
        self._closing = asyncio.Event()
        readers = service.readers
        self._subjects = {name: Subjects(reader, service.store, readers) for name, reader in readers.items()}

    @property
    def _metrics(self) -> Metrics:
        return self._service.metrics

    def close(self) -> None:
        """End every stream; clients come back to another process."""
        self._closing.set()

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, reader: Reader, request: ReadRequest, bound: float
    ) -> None:
        """One stream, to its end. Raises ProblemError before anything is sent."""
        if request.page is not None:
            raise InvalidRequestError(
                "a stream is of the first rows", hint="leave page out; give limit for more rows", field="page"
            )
        if self._open >= self._most:
            raise TooManyStreamsError(
                f"this server holds {self._most} streams already",
                hint="repeat the request after Retry-After seconds, or read without /changes",
                headers={"Retry-After": "5"},
            )
        self._open += 1
        name = reader.route.table.name
        self._metrics.streams.labels(name).inc()
        try:
            try:
                async with asyncio.timeout(self._open_s):
                    watch = await self._watch(name, reader, request, bound)
            except TimeoutError:
                raise read_timeout(self._open_s) from None
            try:
                await self._stream(scope, receive, send, watch)
            finally:
                watch.leave()
        finally:
            self._metrics.streams.labels(name).dec()
            self._open -= 1

    async def _watch(self, name: str, reader: Reader, request: ReadRequest, bound: float) -> Watch:
        watches = self._service.watches
        covered = await reader.covered(request.token, bound)
        watch = await watches.watch(self._subjects[name].of(request.query, request.limit))
        try:
            if watch.history.newest.covered < covered:
                await watches.look(watch)
        except BaseException:
            watch.leave()
            raise
        return watch

    async def _stream(self, scope: Scope, receive: Receive, send: Send, watch: Watch) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        held = next(
            (digest_of(value.decode("latin-1")) for name, value in scope["headers"] if name == b"last-event-id"), None
        )
        body: bytes | None = _RETRY + (watch.history.event(held) or _NOTHING)
        held = watch.history.newest.digest
        ends = [asyncio.create_task(_gone(receive)), asyncio.create_task(self._closing.wait())]
        try:
            while body is not None and await self._sent(send, body, watch):
                body = await next_event(watch, held, ends, lambda: self._admitted(scope))
                held = watch.history.newest.digest  # which is where the body leads to, however long it takes to send
        finally:
            for task in ends:
                task.cancel()
        if body is None:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b""})

    def _admitted(self, scope: Scope) -> bool:
        try:
            self._access.admit(scope["headers"], scope["query_string"])
        except ProblemError:
            return False
        return True

    async def _sent(self, send: Send, body: bytes, watch: Watch) -> bool:
        """Send; False when the client has taken nothing for too long, and is shed."""
        name = watch.subject.query.model
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            self._metrics.streams_shed.labels(name).inc()
            # Closing would wait until the client has read what is in the buffer: it is this that it doesn't do.
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            if transport is not None:
                transport.abort()
            return False
        if body is not _NOTHING:
            self._metrics.stream_events.labels(name).inc()
        return True


async def next_event(
    watch: Watch, held: str, ends: Sequence[asyncio.Task[Any]], admitted: Callable[[], bool]
) -> bytes | None:
    """What is to be sent next to who has this state; None at the end. admitted: whether the token still counts."""
    moving = asyncio.create_task(watch.moved(held, KEEP_ALIVE_SECONDS))
    try:
        await asyncio.wait([moving, *ends], return_when=asyncio.FIRST_COMPLETED)
    finally:
        moving.cancel()
    if any(task.done() for task in ends) or not admitted():
        return None
    # Asked of the history, not of `moving`: another state may have come since that ended without one.
    return watch.history.event(held) or _NOTHING


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
