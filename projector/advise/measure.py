"""What Postgres's tables say of read models: followers, rates, rows reached, sizes. Reads only, each statement bounded.

A statement that takes longer than the bound is given up and its figure is None: advice is not worth a busy primary.
Statements read whole tables: point `postgres.reader` at a standby where that matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import DateTime, Table, distinct, func, literal_column, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import elements

from projections.fan_out import FanOut
from projections.read_model import ReadModel
from projector.advise.amplified import Amplified, amplified
from projector.advise.feed import Authors, Feed
from projector.advise.reach import histogram, reaches
from projector.configured import ConfigurationError

_RECORD_BYTES = 24  # of a record's header, in pg_column_size()
_CHANGES = """
select coalesce(pg_partition_root(relid)::regclass, relid::regclass)::oid::regclass::text,
       sum(n_tup_ins + n_tup_upd + n_tup_del)::float8 / greatest(1, extract(epoch from now() - (
           select coalesce(stats_reset, pg_postmaster_start_time()) from pg_stat_database where datname = current_database()
       )))::float8
from pg_stat_user_tables group by 1
"""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """rows: of a read model, by its select(). row_bytes: the mean payload of one."""

    rows: int
    row_bytes: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One read model. amplified: of each source table; None where a statement took too long. feed: of one with fan_out.

    days: over which post rates were taken, as much of the asked ones as there are entries for. untold: why a feed's can't be.
    """

    model: ReadModel
    amplified: tuple[tuple[str, Amplified | None], ...]
    stored: Stored | None
    feed: Feed | None
    days: float | None
    untold: str | None = None


class _UntoldRateError(Exception):
    """A feed whose entries' rate can't be told from its declaration."""


class Source:
    """The source tables, over one connection."""

    def __init__(self, connection: psycopg.Connection[Any], timeout_s: float) -> None:
        self._connection = connection
        connection.execute(f"set statement_timeout = {int(timeout_s * 1_000)}".encode())
        connection.execute("set timezone = 'UTC'")
        self._changes: dict[str, float] = dict(self._rows(_CHANGES) or ())

    def measure(self, model: ReadModel, days: float, pages_per_s: float | None) -> Measured:
        """All of one read model. pages_per_s: of a feed; None when nobody knows."""
        measured = []
        for reach in reaches(model):
            rows = self._rows(_text(histogram(reach)))
            name = reach.table.fullname
            changes = self._changes.get(name)
            measured.append((name, None if rows is None else amplified(name, reach.via, rows, changes)))
        stored = self._stored(model)
        feed, span, untold = None, None, None
        if model.fan_out is not None:
            try:
                feed, span = self._feed(model, model.fan_out, days, pages_per_s)
            except _UntoldRateError as error:
                untold = str(error)
        return Measured(model=model, amplified=tuple(measured), stored=stored, feed=feed, days=span, untold=untold)

    def _stored(self, model: ReadModel) -> Stored | None:
        inner = model.select.subquery("v")
        size = func.coalesce(func.avg(literal_column("pg_column_size(v.*)")), 0)
        rows = self._rows(_text(select(func.count(), size).select_from(inner)))
        if rows is None:
            return None
        ((count, size_),) = rows
        return Stored(rows=count, row_bytes=max(0.0, float(size_) - _RECORD_BYTES))

    def _feed(
        self, model: ReadModel, policy: FanOut, days: float, pages_per_s: float | None
    ) -> tuple[Feed | None, float | None]:
        author, at = _entries(model, policy)
        recent = at > func.now() - literal_column(f"interval '{days * 86_400:.0f} seconds'")
        span = self._rows(
            _text(select(func.extract("epoch", func.now() - func.min(at))).where(recent).select_from(author.table))
        )
        edges = policy.edges
        followers = (
            select(edges.c[policy.edge_author].label("a"), func.count().label("f"), _active(policy).label("active"))
            .select_from(_with_readers(policy))
            .group_by(edges.c[policy.edge_author])
            .subquery("e")
        )
        posts = (
            select(author.label("a"), func.count().label("n"), func.count().filter(recent).label("recent"))
            .group_by(author)
            .subquery("p")
        )
        f = func.coalesce(followers.c.f, 0)
        groups = self._rows(
            _text(
                select(
                    f,
                    func.count(),
                    func.coalesce(func.sum(posts.c.n), 0),
                    func.coalesce(func.sum(posts.c.recent), 0),
                    func.coalesce(func.sum(followers.c.active), 0),
                )
                .select_from(followers.join(posts, posts.c.a == followers.c.a, full=True))
                .group_by(f)
            )
        )
        readers = self._rows(_text(select(func.count(distinct(edges.c[policy.edge_reader])))))
        if span is None or groups is None or readers is None:
            return None, None
        seconds = float(span[0][0] or days * 86_400)
        authors = tuple(
            Authors(
                followers=f_, number=n, posts=int(all_), posts_per_s=float(new) / max(1.0, seconds), active=int(active)
            )
            for f_, n, all_, new, active in groups
        )
        feed = Feed(name=model.name, authors=authors, readers=readers[0][0], pages_per_s=pages_per_s, cap=policy.cap)
        return feed, seconds / 86_400

    def _rows(self, sql: str) -> list[tuple[Any, ...]] | None:
        """None when it took too long."""
        try:
            return self._connection.execute(sql.encode()).fetchall()
        except psycopg.errors.QueryCanceled:
            return None


@contextmanager
def source(conninfo: str, timeout_s: float) -> Iterator[Source]:
    """A connection for the time of a block; raises ConfigurationError when Postgres can't be asked."""
    try:
        with psycopg.connect(conninfo, autocommit=True, options="-c default_transaction_read_only=on") as connection:
            yield Source(connection, timeout_s)
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        raise ConfigurationError(f"postgres.reader: {error}") from error


def _entries(model: ReadModel, policy: FanOut) -> tuple[Any, Any]:
    """The entries' columns of their author and their time."""
    columns = {str(column.name): getattr(column, "element", column) for column in model.select.selected_columns}
    author = columns[policy.author]
    table = getattr(author, "table", None)
    times: Sequence[Any] = [columns[c.column] for c in model.clustering]
    at = next((t for t in times if getattr(t, "table", None) is table and isinstance(t.type, DateTime)), None)
    if not isinstance(table, Table) or at is None:
        raise _UntoldRateError(
            "its rate can't be told: no clustering column is the time of an entry, of the table that the author column is of"
        )
    return author, at


def _with_readers(policy: FanOut) -> Any:
    if policy.active is None:
        return policy.edges
    readers = policy.active.table
    return policy.edges.outerjoin(readers, readers.c[policy.active.reader] == policy.edges.c[policy.edge_reader])


def _active(policy: FanOut) -> Any:
    if policy.active is None:
        return func.count()
    since = func.now() - literal_column(f"interval '{policy.active.within.total_seconds():.0f} seconds'")
    return func.count().filter(policy.active.table.c[policy.active.seen] >= since)


def _text(statement: elements.ClauseElement) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
