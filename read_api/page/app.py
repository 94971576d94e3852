"""The page over HTTP: its files, open to everybody, and the data behind it, to who may have it.

    GET /                                    the page
    GET /page/{file}                         its style, scripts, icon
    GET /page/data/overview?after=N          figures, and the history of samples after the Nth   scope metrics
    GET /page/data/models                    what can be read, and how a key is written          any token
    GET /page/data/keys/{model}              a few keys that are there                           its read scope, and metrics
    GET /page/data/comparison/{model}/{key…} the read model's rows beside its SQL's              its read scope, and metrics

The paths below /page are the page's own and change with it; what is promised to clients is in /openapi.json.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from command_api.process.access.caller import Caller
from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from read_api.access import Access
from read_api.openapi import value_schema
from read_api.page.board import Board
from read_api.page.comparison import Comparison
from read_api.page.files import HEADERS, INDEX, load_files
from read_api.page.keys import some_keys
from read_api.problem import (
    CONTENT_TYPE,
    InvalidValueError,
    ProblemError,
    ReadTimeoutError,
    UnknownRouteError,
    internal_fault,
    not_allowed,
)
from read_api.rows import Reader
from read_api.service import ReadService

_PAGE = b"/page/"
_DATA = b"data/"
_METHODS = ("GET", "HEAD")
_NO_STORE = {"Cache-Control": "no-store"}

_log = get_logger(__name__)


class Page:
    """ASGI for the paths that `serves` names."""

    def __init__(self, settings: Settings, models: Sequence[ReadModel], service: ReadService, access: Access) -> None:
        self._files = load_files()
        self._access = access
        self._readers = service.readers
        self._store = service.store
        self._models = [_described(model, service) for model in models]
        self._sources = service.sources
        self._board = Board(settings.read_api, models, service.freshness.positions)
        self._comparison = Comparison(service.fallback)
        self._timeout_s = settings.http.read_timeout_ms / 1000

    @staticmethod
    def serves(path: bytes) -> bool:
        """Whether a raw path, its prefix taken off, is of the page."""
        return path == b"/" or path.startswith(_PAGE)

    async def stop(self) -> None:
        """End what goes on in the background."""
        await self._board.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: bytes) -> None:
        """ASGI; path: raw, its prefix taken off."""
        try:
            response = await self._answer(scope, path)
        except ProblemError as problem:
            response = _refused(problem)
        except Exception:
            _log.exception("page_failed", path=path.decode("latin-1")[:200])
            response = _refused(internal_fault())
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, path: bytes) -> Response:
        if scope["method"] not in _METHODS:
            raise not_allowed(scope["method"], _METHODS)
        name = path.removeprefix(_PAGE)
        if not name.startswith(_DATA):
            return self._file(scope, INDEX if path == b"/" else name.decode("latin-1"))
        caller = self._access.admit(scope["headers"], scope["query_string"])
        try:
            async with asyncio.timeout(self._timeout_s):
                return _json(await self._data(scope, caller, name.removeprefix(_DATA)))
        except TimeoutError:
            raise ReadTimeoutError(
                f"not answered within {self._timeout_s:g} s",
                hint="repeat the request after Retry-After seconds", headers={"Retry-After": "1"},
            ) from None  # fmt: skip

    async def _data(self, scope: Scope, caller: Caller, name: bytes) -> Any:
        what, *segments = name.split(b"/")
        match what, len(segments):
            case b"overview", 0:
                self._access.check_metrics(caller)
                return await self._board.view(_after(scope["query_string"]))
            case b"models", 0:
                return {"models": self._models}
            case b"keys", 1:
                reader = self._reader(caller, segments[0])
                self._access.check_everybodys(caller, reader.route.table.name)
                return {"keys": await some_keys(self._store, reader.route)}
            case b"comparison", n if n > 1:
                return await self._compared(scope, caller, self._reader(caller, segments[0]), segments[1:])
        raise _nothing_at(name)

    def _reader(self, caller: Caller, segment: bytes) -> Reader:
        self._access.check_metrics(caller)
        name = segment.decode("latin-1")
        reader = self._readers.get(name)
        if reader is None:
            raise UnknownRouteError(
                f"there is no read model {name[:80]!r}", hint="use one of: " + ", ".join(self._readers)
            )
        self._access.check_model(caller, name)
        return reader

    async def _compared(self, scope: Scope, caller: Caller, reader: Reader, segments: list[bytes]) -> Any:
        request = reader.route.parse(segments, scope["query_string"])
        self._access.check_partition(caller, reader.route, request.query)
        return await self._comparison.of(reader, self._sources[reader.route.table.name], request)

    def _file(self, scope: Scope, name: str) -> Response:
        file = self._files.get(name)
        if file is None:
            raise _nothing_at(name.encode("latin-1"))
        known = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
        if file.tag in known:
            return Response(status_code=304, headers=file.headers)
        return Response(file.body, headers=file.headers)


def _described(model: ReadModel, service: ReadService) -> dict[str, Any]:
    route = service.routes[model.name]
    columns = route.table.columns
    return {
        "name": model.name,
        "path": [{"name": name, "schema": value_schema(columns[name])} for name in route.path],
        "columns": list(columns),
        "key": list(route.table.key),
        "owner": model.owner,
        "refresh": model.refresh,
    }


def _after(query_string: bytes) -> int:
    if not query_string:
        return 0
    name, _, value = query_string.decode("latin-1").partition("=")
    if name != "after" or not (value.isascii() and value.isdigit() and len(value) < 16):
        raise InvalidValueError("the query string is not after=<number>", hint="give a sample's number", field="after")
    return int(value)


def _nothing_at(name: bytes) -> UnknownRouteError:
    return UnknownRouteError(f"there is nothing at {name.decode('latin-1')[:200]!r}", hint="the page itself is at /")


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), headers=_NO_STORE | HEADERS, media_type="application/json")


def _refused(problem: ProblemError) -> Response:
    return Response(problem.body(), problem.status, problem.headers | _NO_STORE | HEADERS, CONTENT_TYPE)
