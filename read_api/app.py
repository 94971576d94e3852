"""The read API over HTTP, an ASGI application.

``GET /read/{model}/{partition key…}`` is routed here on the raw path, so that ``%2F`` is a slash within a value;
so are the paths of `read_api.page`; everything else (health, metrics) is the FastAPI application of `read_api.operations`. Every
reply that is not rows is ``application/problem+json``, and a fault of this server says so without telling its inside:
the log has it. Whoever asks is admitted here, before either; `read_api.access` says who reads what.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from command_api.process.access.caller import Caller
from command_api.process.access.gate import PUBLIC
from command_api.process.http import whole_reply
from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from read_api.access import Access
from read_api.metrics import NO_MODEL
from read_api.operations import operations_app
from read_api.page.app import Page
from read_api.preferences import parse_preferences
from read_api.problem import (
    ProblemError,
    UnknownRouteError,
    internal_fault,
    not_allowed,
    read_timeout,
)
from read_api.replies import Headers, entity_tag, is_held, problem_reply, rows_headers
from read_api.request import ReadRequest
from read_api.rows import Reader, Reply, Source
from read_api.service import ReadService
from read_api.streams import Streams

_READ = b"/read/"
_CHANGES = b"changes"
_METRICS = "/metrics"
_METHODS = ("GET", "HEAD")

_log = get_logger(__name__)


class ReadApi:
    """The application. It owns its connection to Cassandra from ASGI start-up to shut-down. Raises KeysError."""

    def __init__(self, settings: Settings, models: Sequence[ReadModel]) -> None:
        self.service = ReadService(settings, models)
        self.access = Access(settings.auth, models)
        self._timeout_s = settings.http.read_timeout_ms / 1000
        self._streams = Streams(self.service, self.access, settings.read_api.max_streams, self._timeout_s)
        self._readers = self.service.readers
        self._operations = operations_app(self.service)
        self._page = Page(settings, models, self.service, self.access)

    def close_streams(self) -> None:
        """End what would not end by itself before the process may stop."""
        self._streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            path: bytes = scope["raw_path"].removeprefix(scope.get("root_path", "").encode())
            if path.startswith(_READ):
                await self._answer(scope, path[len(_READ) :], receive, send)
                return
            if self._page.serves(path):
                await self._page(scope, receive, send, path)
                return
            if scope["path"] not in PUBLIC:
                try:
                    caller = self.access.admit(scope["headers"], scope["query_string"])
                    if scope["path"] == _METRICS:
                        self.access.check_metrics(caller)
                except ProblemError as problem:
                    await _send(scope, send, *problem_reply(problem))
                    return
        try:
            await self._operations(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                await self._page.stop()

    async def _answer(self, scope: Scope, path: bytes, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        model, *segments = path.split(b"/")
        name = model.decode("latin-1")
        reader = self._readers.get(name)
        try:
            caller = self.access.admit(scope["headers"], scope["query_string"])
            if reader is not None and segments[-1:] == [_CHANGES] and len(segments) == len(reader.route.path) + 1:
                request, bound = self._asked(scope, caller, name, reader, segments[:-1])
                await self._streams.serve(scope, receive, send, reader, request, bound)
                return
            reply = await self._read(scope, caller, name, reader, segments)
            tag = entity_tag(reply.rows, reply.more)
            status, body = (304, b"") if is_held(scope["headers"], tag) else (200, reply.body)
            headers = rows_headers(reply, tag, private=not self.access.gate.open)
            if status == 200:
                headers.append((b"content-type", b"application/json"))
        except ProblemError as problem:
            status, headers, body = problem_reply(problem)
        except Exception:
            _log.exception("read_failed", model=name)
            status, headers, body = problem_reply(internal_fault())
        label = name if reader is not None else NO_MODEL
        self.service.metrics.answered(label, status, time.perf_counter() - began)
        await _send(scope, send, status, headers, body)

    async def _read(
        self, scope: Scope, caller: Caller, name: str, reader: Reader | None, segments: list[bytes]
    ) -> Reply:
        request, bound = self._asked(scope, caller, name, reader, segments)
        assert reader is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await reader.read(request, bound)
        except TimeoutError:
            raise read_timeout(self._timeout_s) from None
        # The lag is the read model's: what Postgres answered says nothing of it.
        lag = reply.lag_seconds if reply.source is Source.READ_MODEL else None
        self.service.metrics.replied(name, reply.count, lag)
        return reply

    def _asked(
        self, scope: Scope, caller: Caller, name: str, reader: Reader | None, segments: list[bytes]
    ) -> tuple[ReadRequest, float]:
        """What is asked for, by somebody who may, and the bound on its token's wait."""
        if scope["method"] not in _METHODS:
            raise not_allowed(scope["method"], _METHODS)
        if reader is None:
            raise UnknownRouteError(
                f"there is no read model {name[:80]!r}",
                hint="use one of: " + ", ".join(self._readers),
                read_models=list(self._readers),
            )
        self.access.check_model(caller, name)
        request = reader.route.parse(segments, scope["query_string"])
        self.access.check_partition(caller, reader.route, request.query)
        preferences = parse_preferences(scope["headers"])
        if preferences.token is not None:
            request = request.with_token(preferences.token)
        return request, reader.bound(self.service.wait_seconds, preferences.wait)


async def _send(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    if status != 304:
        headers.append((b"content-length", b"%d" % len(body)))
    body = b"" if scope["method"] == "HEAD" else body
    reply = whole_reply(scope)
    if reply is not None:
        await reply(status, headers, body)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
