"""The months of `messages`: coming ones are made, old ones emptied, detached and dropped.

A month that is dropped says nothing in the replication stream, so its rows would stay in every read model. Retention
therefore deletes them, batch by batch, each batch a transaction of the log like any other, and only then lets the empty
month go. Promised: a row that is committed meanwhile is never lost with its month; a run may be ended anywhere and
repeated; nobody waits longer than `LOCK_SECONDS` for its locks. It needs the owner of the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from command_api.process.logging import get_logger

SCHEMA: Final = "months"
LOCK_SECONDS: Final = 2
_PATIENCE_S: Final = 60.0
_LOCK: Final = 0x6D6F6E746873  # "months", the advisory lock that serializes runs on one database
_NAME = re.compile(r"messages_(\d{4})_(\d{2})")

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a run did. made, dropped: first days of months. deleted: rows."""

    made: tuple[date, ...]
    dropped: tuple[date, ...]
    deleted: int


def month_after(month: date, count: int = 1) -> date:
    """The first day of the month `count` months after that of `month`; a negative count goes back."""
    years, months = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(years, months + 1, 1)


def name_of(month: date) -> str:
    """``messages_2026_11``."""
    return f"messages_{month:%Y_%m}"


def creation(month: date) -> tuple[str, ...]:
    """SQL that makes a month and attaches it; unlike ``PARTITION OF`` it doesn't keep readers of messages waiting."""
    table = f"{SCHEMA}.{name_of(month)}"
    first, following = first_id(month), first_id(month_after(month))
    return (
        f"create table {table} (like messages including all)",
        f"alter table messages attach partition {table} for values from ('{first}') to ('{following}')",
    )


def first_id(month: date) -> UUID:
    """A uuid before every uuid v7 of the month (UTC), and after every one of the months before."""
    milliseconds = (month - date(1970, 1, 1)).days * 86_400_000
    return UUID(int=milliseconds << 80)


def keep(conninfo: str, *, ahead: int, months: int | None, batch: int, today: date | None = None) -> Kept:
    """Make the present month, the one before it, and `ahead` coming ones; drop those older than `months` whole months.

    months: at least 1, None drops nothing. batch: rows a transaction deletes. Raises psycopg.Error.
    """
    this = month_after(today or datetime.now(UTC).date(), 0)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(f"set lock_timeout = '{LOCK_SECONDS}s'")
        there = set(existing(connection))
        wanted = [month_after(this, n) for n in range(-1, ahead + 1)]
        made = tuple(month for month in wanted if month not in there)
        for month in made:
            create(connection, month)
        old = sorted(month for month in there if months is not None and month_after(month, months) < this)
        deleted = sum(drop(connection, month, batch=batch) for month in old)
    return Kept(made=made, dropped=tuple(old), deleted=deleted)


def existing(connection: psycopg.Connection) -> Iterator[date]:
    """The months that are attached; a partition of another name is somebody else's and left alone."""
    rows = connection.execute(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'messages'::regclass"
    ).fetchall()
    for (name,) in rows:
        found = _NAME.fullmatch(name)
        if found is None:
            _log.warning("a partition of messages is no month of this command", partition=name)
        else:
            yield date(int(found[1]), int(found[2]), 1)


def create(connection: psycopg.Connection, month: date) -> None:
    """Make a month, in a transaction; raises psycopg.Error."""

    def work() -> None:
        for statement in creation(month):
            connection.execute(statement.encode())

    _patiently(connection, work)
    _log.info("month made", month=name_of(month))


def drop(connection: psycopg.Connection, month: date, *, batch: int) -> int:
    """Delete a month's rows, then detach and drop it; returns the number of rows. Raises psycopg.Error."""
    table, deleted = sql.Identifier(SCHEMA, name_of(month)), 0
    gone = False

    def finish() -> None:
        nonlocal gone
        # Whoever writes to the month has committed now, and nobody else begins: empty is empty.
        # The parent first, as they take them, or two that wait for each other would be one that is refused.
        connection.execute("lock table only messages in access exclusive mode")
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(table))
        if connection.execute(sql.SQL("select from {} limit 1").format(table)).fetchone() is not None:
            return
        connection.execute(sql.SQL("alter table messages detach partition {}").format(table))
        connection.execute(sql.SQL("drop table {}").format(table))
        gone = True

    while not gone:
        deleted += _emptied(connection, table, batch)
        _patiently(connection, finish)
    _log.info("month dropped", month=name_of(month), rows=deleted)
    return deleted


def _emptied(connection: psycopg.Connection, table: sql.Identifier, batch: int) -> int:
    # By position: rows that are edited meanwhile move and are met again; autocommit makes each batch a transaction.
    statement = sql.SQL("delete from {} where ctid = any(array(select ctid from {} limit {}))").format(
        table, table, sql.Literal(batch)
    )
    deleted = 0
    while rows := connection.execute(statement).rowcount:
        deleted += rows
    return deleted


def _patiently(connection: psycopg.Connection, work: Callable[[], None]) -> None:
    """Run in a transaction, again when others hold what it locks: waiting longer would keep all others waiting."""
    for attempt in Retrying(
        retry=retry_if_exception_type(psycopg.errors.LockNotAvailable),
        wait=wait_random(0.1, 1),
        stop=stop_after_delay(_PATIENCE_S),
        reraise=True,
    ):
        with attempt, connection.transaction():
            work()
