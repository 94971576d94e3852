"""Postgres, asked for what a read model does not show in time: few at once, each bounded, read-only, at the primary.

A token is the position of a commit that its client was told of, so any snapshot that the primary takes afterwards shows
it; a standby may be behind, so the connection insists on a primary, and a position that the server has never written
(another server's token) is refused. Not promised, under synchronous replication: a position that was learned from a
reply rather than a command may be of a commit that waits for its standby, which no snapshot shows before that.

Promised: never more statements at once than connections; who finds them all busy waits in a short queue, and past its end
is refused at once, as is everybody for a moment after somebody waited in vain: a Postgres in trouble is not given more.
One that gives no sign any more is not asked to cancel either, which would be to wait again: its connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from read_api.request import Query
from read_api.source_query import SourceQuery

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
T = TypeVar("T")

_CONNECT_S = "2"
_RECONNECT_S = 2.0  # then the next request starts afresh: the pool's own back-off has no ceiling
_QUEUE = 4  # requests that wait for each connection; more would wait longer than they are worth
_STOP_S = 2.0
_REST_S = 1.0  # after a wait in vain nobody else waits
_GRACE_S = 1.0  # beyond the statement's own time-out, which ends it in the server
_FLUSHED = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
_EXPLAIN = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
_SESSION = """
    SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO,YMD', false),
           set_config('IntervalStyle', 'postgres', false), set_config('extra_float_digits', '1', false),
           set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', %s, false)
"""

_log = get_logger(__name__)


class FallbackError(Exception):
    """Postgres did not answer; the message says why, for the client too."""


@dataclass(frozen=True, kw_only=True)
class SourceRows:
    """Rows in the form of Cassandra's driver. seen: no commit after this position is in them. more: there may be others."""

    rows: Sequence[tuple[Any, ...]]
    seen: Lsn
    more: bool


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What Postgres did for a query.

    rows: in the form of Cassandra's driver. seconds: from the statement sent to its last row received. text: the statement
    with its values, to be pasted into psql. plan: the object of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON), of another run.
    """

    rows: Sequence[tuple[Any, ...]]
    seconds: float
    text: str
    plan: Mapping[str, Any]


class Fallback:
    """A pool of `read_api.fallback_connections` to postgres.reader, opened by `start`, filled when it is needed.

    told: of every read: the read model, its seconds, and whether it was answered.
    """

    def __init__(self, settings: Settings, told: Callable[[str, float, bool], None] = lambda _m, _s, _a: None) -> None:
        own = settings.read_api
        self._told = told
        self._timeout_s = own.fallback_timeout_ms / 1000
        self._resting_until = float("-inf")
        self._pool = AsyncConnectionPool(
            make_conninfo(
                settings.postgres.reader.get_secret_value(),
                application_name="lockstep-read-api",
                connect_timeout=_CONNECT_S,
                target_session_attrs="primary",
            ),
            connection_class=Connection,
            kwargs={"autocommit": True},
            min_size=0,
            max_size=own.fallback_connections,
            max_waiting=_QUEUE * own.fallback_connections,
            timeout=self._timeout_s,
            reconnect_timeout=_RECONNECT_S,
            configure=self._configure,
            check=self._check,  # after a restart of the server all idle ones have ended
            name="read-api-fallback",
            open=False,
        )

    async def start(self) -> None:
        """Open the pool; connects to nothing yet."""
        await self._pool.open(wait=False)

    async def stop(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=_STOP_S)

    async def say(self, prefix: str, content: str) -> None:
        """Write a logical message into Postgres's log; raises FallbackError."""
        try:
            async with self._pool.connection() as connection, self._bounded(connection, self._timeout_s):
                await connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", [prefix, content])
        except (TimeoutError, psycopg.Error) as error:  # the pool's are psycopg's
            raise FallbackError(f"a message could not be written: {type(error).__name__}") from error

    async def read(
        self, source: SourceQuery, query: Query, *, limit: int, after: Sequence[Any] | None, token: Lsn
    ) -> SourceRows:
        """At most `limit` rows that show `token`; raises FallbackError."""
        began = time.perf_counter()
        answered = False
        try:
            text, parameters = source.select(query, limit=limit + 1, after=after)
            rows, seen = await self._run(text, parameters, token)
            found = SourceRows(rows=source.finish(rows[:limit]), seen=seen, more=len(rows) > limit)
            answered = True
        finally:
            self._told(query.model, time.perf_counter() - began, answered)
        return found

    async def explain(self, source: SourceQuery, query: Query, *, limit: int) -> Explained:
        """Run the query, then its plan, under the same bounds as `read`; raises FallbackError."""
        text, parameters = source.select(query, limit=limit)

        async def work(connection: Connection) -> Explained:
            began = time.perf_counter()
            rows = await (await connection.execute(text.encode(), parameters, prepare=False)).fetchall()
            seconds = time.perf_counter() - began
            cursor = await connection.execute(_EXPLAIN + text.encode(), parameters, prepare=False)
            plan = await cursor.fetchone()
            assert plan is not None
            shown = psycopg.AsyncClientCursor(connection).mogrify(text.encode(), parameters)
            return Explained(rows=source.finish(rows), seconds=seconds, text=shown, plan=plan[0][0])

        return await self._on_connection(work)

    async def _run(self, text: str, parameters: Sequence[Any], token: Lsn) -> tuple[list[tuple[Any, ...]], Lsn]:
        async def work(connection: Connection) -> tuple[list[tuple[Any, ...]], Lsn]:
            if await _flushed(connection) < token:
                raise FallbackError("Postgres has not written the token's position: it is another server's")
            cursor = await connection.execute(text.encode(), parameters)
            rows = await cursor.fetchall()
            return rows, await _flushed(connection)

        return await self._on_connection(work)

    async def _on_connection(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        if loop.time() < self._resting_until:
            raise FallbackError("no connection to Postgres a moment ago")
        until = loop.time() + 2 * self._timeout_s + _GRACE_S
        try:
            async with self._pool.connection() as connection, self._bounded(connection, until - loop.time()):
                return await work(connection)
        except TooManyRequests:
            raise FallbackError("as many reads as allowed are waiting for Postgres already") from None
        except PoolTimeout:
            self._resting_until = loop.time() + _REST_S
            raise FallbackError(f"no connection to Postgres within {self._timeout_s:g} s") from None
        except (psycopg.errors.QueryCanceled, TimeoutError):
            raise FallbackError(f"Postgres did not answer within {self._timeout_s:g} s") from None
        except psycopg.Error as error:
            _log.warning("fallback_failed", error=" ".join(str(error).split()), sqlstate=error.sqlstate)
            raise FallbackError("Postgres could not answer; the server's log says why") from error

    async def _configure(self, connection: Connection) -> None:
        async with self._bounded(connection, self._timeout_s):
            await connection.execute(_SESSION, [str(round(self._timeout_s * 1000))])

    async def _check(self, connection: Connection) -> None:
        async with self._bounded(connection, self._timeout_s):
            await AsyncConnectionPool.check_connection(connection)

    @asynccontextmanager
    async def _bounded(self, connection: Connection, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError when what is done takes longer; the connection is at its end then, and nobody asks for a moment."""
        loop = asyncio.get_running_loop()
        hung_up = False

        def hang_up() -> None:
            nonlocal hung_up
            hung_up, self._resting_until = True, loop.time() + _REST_S
            # Not by cancelling what waits: psycopg would then wait for the server's word, twice five seconds.
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as own:
                own.shutdown(socket.SHUT_RDWR)

        timer = loop.call_later(max(0.0, seconds), hang_up)
        try:
            yield
        except psycopg.Error as error:
            if hung_up:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()


async def _flushed(connection: Connection) -> Lsn:
    row = await (await connection.execute(_FLUSHED)).fetchone()
    assert row is not None
    return Lsn(row[0])
