"""One connection to Postgres for one run, in the session settings that the runs' promises need.

TimeZone=UTC, because a select() with dates in it has one answer only then. A commit that has returned is on disk, so
that the flush position is at or after it. A server whose client was killed looks for it once a second, so that the
advisory lock of a dead run is soon free. Not promised: to work through a pooler that shares sessions; the lock is one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from command_api.process.postgres_login import refusal
from projector.refresh.errors import RefreshAwayError, RefreshFailedError, RefreshSetupError

_CONNECT_S = 10
_GONE = ("08", "57P")  # SQLSTATE classes: connection exceptions, and a server that shuts down or starts up


@contextmanager
def connected(conninfo: str, read_model: str, *, setting: str, timeout_s: int) -> Iterator[psycopg.Connection]:
    """A connection in autocommit, its transactions REPEATABLE READ; driver errors leave as RefreshError.

    timeout_s: bounds each statement. setting: the name of the setting that holds the conninfo, for messages.
    """
    given = conninfo_to_dict(conninfo)
    try:
        connection = psycopg.connect(
            conninfo,
            autocommit=True,
            application_name="lockstep refresh",
            connect_timeout=int(given.get("connect_timeout") or _CONNECT_S),
        )
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        check = refusal(text)
        hint = f"Check {check} in {setting}" if check else f"It is tried again; check that it is up, and {setting}"
        kind = RefreshSetupError if check else RefreshAwayError
        raise kind(read_model, f"Postgres can't be reached: {text}", hint=hint) from error
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        for name, value in (
            ("timezone", "UTC"),
            ("synchronous_commit", "on"),
            ("statement_timeout", f"{timeout_s}s"),
            ("client_connection_check_interval", "1s"),
        ):
            connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        yield connection
    except psycopg.Error as error:
        raise translated(error, read_model, connection) from error
    finally:
        connection.close()


def translated(error: psycopg.Error, read_model: str, connection: psycopg.Connection) -> Exception:
    """The driver's error as one of ours."""
    text = " ".join(str(error).split())
    if connection.broken or (error.sqlstate or "08").startswith(_GONE):
        return RefreshAwayError(read_model, f"the connection to Postgres broke: {text}", hint="It is tried again")
    match error:
        case psycopg.errors.UniqueViolation():
            hint = "Its key must identify a row of its select(): add the column that tells them apart to the key"
        case psycopg.errors.NotNullViolation():
            hint = "A key must never be null: coalesce it, or leave those rows out"
        case psycopg.errors.InsufficientPrivilege():
            hint = "Grant the user of postgres.refresher what is refused; `projector setup` grants the pseudo-tables"
        case psycopg.errors.QueryCanceled():
            hint = "refresh.timeout_s bounds each statement"
        case _:
            hint = "The old rows stay: correct the data or the read model's SQL; it is tried again"
    return RefreshFailedError(read_model, f"{type(error).__name__}: {text}", hint=hint)
