"""One run of one scheduled read model: what its SQL gives now, minus what the pseudo-table holds, as one transaction.

Promised: the pseudo-table is changed by one commit or not at all, whenever the process, the connection or the SQL ends;
a run that finds nothing new adds nothing to the log; never do two runs of a model overlap, in whatever process. The
lock is the session's and is taken *before* the transaction: its snapshot then begins after the last run's commit,
without which the rows of that run would be invisible to the difference.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from projections.read_model import ReadModel
from projections.refreshed import SCHEMA, pseudo_table
from projections.schedule import Schedule, due_at
from projector.refresh.errors import RefreshBusyError, RefreshFailedError, RefreshSetupError
from projector.refresh.statements import RUNS, RunStatements, run_statements

_log = get_logger(__name__)
_LOCK = "hashtextextended(%s, 0)"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has committed.

    inserted, updated, deleted: rows of the difference. lsn: at or after its commit, so that a read model that covers it
    shows this run. seconds: from the lock to the commit.
    """

    inserted: int
    updated: int
    deleted: int
    lsn: Lsn
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """When the last successful run began, None when there was none; now: Postgres's clock, which all decisions use."""

    started_at: datetime | None
    now: datetime


def look(connection: psycopg.Connection, model: ReadModel) -> LastRun:
    """The last successful run of a read model. Raises RefreshSetupError before `projector setup`."""
    query = sql.SQL("SELECT (SELECT started_at FROM {} WHERE read_model = %s), clock_timestamp()").format(RUNS)
    try:
        row = connection.execute(query, (model.name,)).fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise RefreshSetupError(
            model.name, f"schema {SCHEMA} is not set up in Postgres", hint="Run `projector setup`"
        ) from error
    assert row is not None
    return LastRun(started_at=row[0], now=row[1])


def run(connection: psycopg.Connection, model: ReadModel, publication: str) -> Run:
    """Run now. Raises RefreshBusyError, RefreshSetupError, RefreshFailedError, or psycopg.Error rolled back."""
    done = run_if_due(connection, model, publication, None)
    assert done is not None
    return done


def run_if_due(
    connection: psycopg.Connection, model: ReadModel, publication: str, schedule: Schedule | None
) -> Run | None:
    """As `run`; None when, once the lock is had, another process's run of this tick is found to be done."""
    began = time.monotonic()
    name = f"{SCHEMA} {model.name}"
    row = connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})", (name,)).fetchone()
    if row is None or not row[0]:
        raise RefreshBusyError(model.name, "another run is under way", hint="Wait for its end")
    try:
        if schedule is not None:
            last = look(connection, model)
            if due_at(schedule, last.started_at, last.now) > last.now:
                return None
        with connection.transaction():
            check_table(connection, model, publication)
            inserted, updated, deleted = _difference(connection, model, run_statements(model))
        position = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert position is not None
    finally:
        if not connection.broken:
            connection.execute(f"SELECT pg_advisory_unlock({_LOCK})", (name,))
    seconds = time.monotonic() - began
    return Run(inserted=inserted, updated=updated, deleted=deleted, lsn=Lsn.parse(position[0]), seconds=seconds)


def check_table(connection: psycopg.Connection, model: ReadModel, publication: str) -> None:
    """Raise RefreshSetupError unless the pseudo-table is there and published: the log would miss its rows."""
    table = pseudo_table(model).name
    row = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL, EXISTS (SELECT FROM pg_publication_tables"
        " WHERE pubname = %s AND schemaname = %s AND tablename = %s)",
        (f'"{SCHEMA}"."{table}"', publication, SCHEMA, table),
    ).fetchone()
    assert row is not None
    there, published = row
    if not there:
        raise RefreshSetupError(
            model.name, f"there is no table {SCHEMA}.{table} for its columns in Postgres", hint="Run `projector setup`"
        )
    if not published:
        raise RefreshSetupError(
            model.name, f"{SCHEMA}.{table} is not in the publication {publication!r}", hint="Run `projector setup`"
        )


def _difference(connection: psycopg.Connection, model: ReadModel, statements: RunStatements) -> tuple[int, int, int]:
    connection.execute(statements.answers)
    changed = connection.execute(statements.types).fetchall()
    if changed:
        _refuse_loss(connection, model, statements.lossy(changed), [name for name, _ in changed])
    connection.execute(statements.wanted)
    connection.execute(statements.fill)
    connection.execute(statements.analyze)
    deleted = connection.execute(statements.delete).rowcount
    updated = connection.execute(statements.update).rowcount if statements.update is not None else 0
    inserted = connection.execute(statements.insert).rowcount
    connection.execute(
        sql.SQL(
            "INSERT INTO {} (read_model, started_at, inserted, updated, deleted) VALUES (%s, now(), %s, %s, %s)"
            " ON CONFLICT (read_model) DO UPDATE SET started_at = excluded.started_at, inserted = excluded.inserted,"
            " updated = excluded.updated, deleted = excluded.deleted"
        ).format(RUNS),
        (model.name, inserted, updated, deleted),
    )
    return inserted, updated, deleted


def _refuse_loss(connection: psycopg.Connection, model: ReadModel, lossy: sql.Composed, names: list[str]) -> None:
    row = connection.execute(lossy).fetchone()
    if row is not None:
        values = ", ".join(f"{name} = {value}" for name, value in zip(names, row, strict=True))
        raise RefreshFailedError(
            model.name,
            f"a row of its select() does not fit the declared types ({values})",
            hint="Cast the column in the select() to the type that it declares",
        )
