"""Connections to the source database: pooled, checked when broken, and set so that a token can be trusted.

The token of a reply is ``pg_current_wal_flush_lsn()`` after the commit has returned. That is at or after the commit
only when COMMIT waits for the local flush, so a connection whose ``synchronous_commit`` would be ``off`` (from the
server, the role, the database or the conninfo) is raised to ``local``; every stronger setting is kept. The insert
position would be no way out: it may run ahead of what the replication stream can ever send, and a reader would wait
for it in vain. The setting belongs to the session, so a pooler in between must pool sessions, not transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from command_api.errors import CommandApiError, UnavailableError
from command_api.process.logging import get_logger

Connection = psycopg.AsyncConnection[tuple[object, ...]]

_log = get_logger(__name__)

_DEFAULTS = {
    "application_name": "lockstep-command-api",
    "connect_timeout": "3",  # seconds
    "tcp_user_timeout": "10000",  # ms until a peer that acknowledges nothing counts as gone
}
_RECONNECT_S = 5.0  # then the next request starts afresh: the pool's own back-off has no ceiling
_SESSION = """
    select set_config('synchronous_commit',
                      case current_setting('synchronous_commit') when 'off' then 'local'
                           else current_setting('synchronous_commit') end, false),
           set_config('TimeZone', 'UTC', false),
           set_config('lock_timeout', %(ms)s, false),
           set_config('statement_timeout', %(ms)s, false),
           set_config('idle_in_transaction_session_timeout', %(idle)s, false)
"""
# The second column is of the schema and of the role's privileges; no row is read.
_READY = "select current_setting('transaction_read_only'), exists (select from idempotency_keys, users limit 0)"


def unavailable(error: Exception) -> CommandApiError | None:
    """What a driver's error means for the caller, None when it is a fault of this program; the one place for it."""
    if isinstance(error, (PoolTimeout, PoolClosed, TooManyRequests)):  # subclasses of the driver's own errors
        return UnavailableError("no connection to the database became free in time")
    if isinstance(error, (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)):
        return UnavailableError("the database took too long, for example waiting for another command's lock")
    if isinstance(error, psycopg.errors.FeatureNotSupported):
        return UnavailableError("the database's schema changed meanwhile")
    if isinstance(error, (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)):
        return UnavailableError("the database's schema is not the expected one", hint="run: command-api migrate")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return UnavailableError("the database's role lacks a privilege", hint="run: command-api migrate")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction | psycopg.errors.ObjectNotInPrerequisiteState):
        return UnavailableError("the database accepts no writes: it is a standby, or read only")
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return UnavailableError("the database is away or ended the connection")
    return None


class Database:
    """A pool of connections in autocommit mode; `timeout_ms` bounds each wait for a connection, lock or statement."""

    def __init__(self, conninfo: str, *, pool_size: int, timeout_ms: int) -> None:
        given = conninfo_to_dict(conninfo)
        self._timeout_ms = timeout_ms
        self._pool = AsyncConnectionPool(
            make_conninfo(conninfo, **{name: value for name, value in _DEFAULTS.items() if name not in given}),
            connection_class=Connection,
            # Every statement here is one of a few dozen texts: prepare each at its second use.
            kwargs={"autocommit": True, "prepare_threshold": 1},
            min_size=pool_size,
            max_size=pool_size,
            timeout=timeout_ms / 1000,
            reconnect_timeout=_RECONNECT_S,
            configure=self._configure,
            name="command-api",
            open=False,
        )

    async def _configure(self, connection: Connection) -> None:
        await connection.execute(_SESSION, {"ms": str(self._timeout_ms), "idle": str(2 * self._timeout_ms)})

    async def open(self) -> None:
        """Start connecting in the background; a database that is away now may come later."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=self._timeout_ms / 1000)

    @asynccontextmanager
    async def connection(self, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection; raises the pool's errors when none becomes free in time."""
        async with self._pool.connection(timeout=timeout_s) as connection:
            yield connection

    async def drop_broken(self) -> None:
        """Replace idle connections that have ended, as all have after a restart of the server."""
        await self._pool.check()

    async def check_ready(self) -> None:
        """Raise UnavailableError unless commands can be written now; waits a second at most for a connection."""
        try:
            async with self.connection(timeout_s=1.0) as connection:
                row = await (await connection.execute(_READY)).fetchone()
                if row is None or row[0] == "on":
                    raise psycopg.errors.ReadOnlySqlTransaction("transaction_read_only is on")
        except psycopg.Error as error:
            _log.warning("not ready", error=str(error))
            await self.drop_broken()
            raise unavailable(error) or UnavailableError("the database can't be used") from error

    def statistics(self) -> dict[str, int]:
        """The pool's figures by psycopg_pool's names (pool_size, pool_available, requests_waiting, …)."""
        return self._pool.get_stats()
