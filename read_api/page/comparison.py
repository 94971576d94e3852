"""One key, read twice: from the read model as every client reads it, and from Postgres by the SQL that it replaces.

Promised: the same restriction, columns, order and limit on both sides, one after the other, few at a time. Each side is
asked RUNS times while it is quick, and its fastest time counts: the first pays for caches and compiles. Whatever fails stands
on its side as the problem that it is. Not promised: that both sides show the same moment. Rows that differ were
written in between, or are drift; the positions tell.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import msgspec

from read_api.cql import Shape
from read_api.fallback import Fallback, FallbackError
from read_api.problem import ProblemError, StoreUnavailableError
from read_api.rendering import RowRenderer
from read_api.request import ReadRequest
from read_api.rows import Reader
from read_api.source_query import SourceQuery

MOST_ROWS = 100
RUNS = 3
_QUICK_S = 0.1  # a side that took longer is not asked again
_AT_ONCE = 1  # a plan is somebody's curiosity; reads of clients need the connections more


class Comparison:
    """fallback: None when this process asks Postgres never."""

    def __init__(self, fallback: Fallback | None) -> None:
        self._fallback = fallback
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def of(self, reader: Reader, source: SourceQuery, request: ReadRequest) -> dict[str, Any]:
        """Both sides of a request, its page and token left out."""
        request = replace(request, page=None, token=None, limit=min(request.limit, MOST_ROWS))
        async with self._turn:
            left = await self._read_model(reader, request)
            right = await self._postgres(reader, source, request)
        equal = left["rows"] == right["rows"] if "rows" in left and "rows" in right else None
        return {
            "read_model": request.query.model,
            "columns": list(reader.route.table.columns),
            "limit": request.limit,
            "cassandra": left,
            "postgres": right,
            "equal": equal,
        }

    async def _read_model(self, reader: Reader, request: ReadRequest) -> dict[str, Any]:
        cql = reader.statement(Shape.of(request.query))
        times: list[float] = []
        try:
            while _again(times):
                began = time.perf_counter()
                reply = await reader.read(request, 0.0)
                times.append(time.perf_counter() - began)
        except ProblemError as problem:
            return {"cql": cql, "problem": msgspec.json.decode(problem.body())}
        body = msgspec.json.decode(reply.body)
        return {
            "cql": cql,
            "seconds": min(times),
            "runs": len(times),
            "rows": body["rows"],
            "more": body["next_page"] is not None,
            "source": body["source"],
            "covered_lsn": body["covered_lsn"],
            "lag_seconds": body["lag_seconds"],
        }

    async def _postgres(self, reader: Reader, source: SourceQuery, request: ReadRequest) -> dict[str, Any]:
        text = source.select(request.query, limit=request.limit)[0].replace("%%", "%")
        if self._fallback is None:
            problem: ProblemError = StoreUnavailableError(
                "this process never asks Postgres", hint="set LOCKSTEP_READ_API__FALLBACK_CONNECTIONS above 0"
            )
            return {"sql": text, "problem": msgspec.json.decode(problem.body())}
        times: list[float] = []
        try:
            while _again(times):
                found = await self._fallback.explain(source, request.query, limit=request.limit)
                times.append(found.seconds)
        except FallbackError as error:
            problem = StoreUnavailableError(
                str(error),
                hint="that may be the answer: LOCKSTEP_READ_API__FALLBACK_TIMEOUT_MS bounds what such a query may take",
            )
            return {"sql": text, "problem": msgspec.json.decode(problem.body())}
        rows = RowRenderer(reader.route.table.columns)(found.rows)
        return {
            "sql": found.text,
            "seconds": min(times),
            "runs": len(times),
            "rows": msgspec.json.decode(msgspec.json.encode(rows)),
            "plan": found.plan,
        }


def _again(times: list[float]) -> bool:
    return not times or (len(times) < RUNS and times[-1] < _QUICK_S)
