"""Read models in Cassandra beside their own SQL on Postgres, value for value in replica form.

The way from Cassandra's values to replica form is written here, apart from the code under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import psycopg
from cassandra.cluster import Session
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from projections.cassandra_table import POSITIONS, cassandra_table
from projections.document_values import encode
from projections.feed_tables import skipped_readers_table
from projections.read_model import ReadModel
from projections.refreshed import maintained
from projections.values import Kind, ValueType
from tests.e2e.pipeline import Pipeline, wait_for
from tests.oracle.postgres import in_replica_form, plain_value, text_of

Rows = dict[tuple[Any, ...], tuple[Any, ...]]


def create_tables(connection: psycopg.Connection[Any], metadata: MetaData) -> None:
    """Make a metadata's tables and let the relay's role read them."""
    for table in metadata.sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=postgresql.dialect())).encode())  # type: ignore[no-untyped-call]
    connection.execute("grant select on all tables in schema public to lockstep_relay")


def flushed(conninfo: str) -> int:
    """A position at or after everything that has committed."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute("select pg_current_wal_flush_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])


def positions(session: Session, keyspace: str, projection: str) -> dict[str, int]:
    """Read model to published LSN."""
    rows = session.execute(
        f'SELECT read_model, lsn FROM "{keyspace}"."{POSITIONS}" WHERE projection = %s', (projection,)
    )
    return {row.read_model: row.lsn for row in rows}


def wait_covered(
    session: Session,
    keyspace: str,
    projection: str,
    models: Sequence[ReadModel],
    lsn: int,
    *,
    seconds: float,
    pipeline: Pipeline,
) -> None:
    """Wait until every read model covers a position; fails at once when a process has ended."""

    def behind() -> dict[str, int]:
        found = positions(session, keyspace, projection)
        return {model.name: there for model in models if (there := found.get(model.name, -1)) < lsn}

    def covered() -> bool:
        pipeline.check()
        return not behind()

    wait_for(f"every read model covers {lsn}", covered, seconds, lambda: f"behind: {behind()}\n{pipeline.logs()}")


def settled(
    pipeline: Pipeline, session: Session, models: Sequence[ReadModel], context: str, *, seconds: float = 60
) -> None:
    """Wait until every read model covers what has committed by now, then fail unless each equals its SQL."""
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    projection = settings.projector.projection
    wait_covered(session, keyspace, projection, models, flushed(admin), seconds=seconds, pipeline=pipeline)
    assert_equal(session, keyspace, admin, models, context)


def in_postgres(conninfo: str, model: ReadModel) -> Rows:
    """The select() on Postgres, of a scheduled read model what its last run left: key to the other columns."""
    return all_in_postgres(conninfo, (model,))[model.name]


def in_cassandra(session: Session, keyspace: str, model: ReadModel) -> Rows:
    """The table in Cassandra: key to the other columns."""
    return all_in_cassandra(session, keyspace, (model,))[model.name]


def all_in_postgres(conninfo: str, models: Sequence[ReadModel]) -> dict[str, Rows]:
    """`in_postgres` of several, by name."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("set timezone = 'UTC'")
        cursor = connection.execute("; ".join(map(_in_replica_form, models)).encode())  # in one round trip
        found = {}
        for model in models:
            kinds = list(cassandra_table(model, "any").columns.values())
            found[model.name] = _keyed(model, [tuple(map(plain_value, row, kinds)) for row in cursor])
            cursor.nextset()
    return found


def all_in_cassandra(session: Session, keyspace: str, models: Sequence[ReadModel]) -> dict[str, Rows]:
    """`in_cassandra` of several, by name."""
    waiting = []
    for model in models:
        table = cassandra_table(model, keyspace)
        names = ", ".join(f'"{name}"' for name in table.columns)
        waiting.append((model, table, session.execute_async(f"SELECT {names} FROM {table.qualified}")))
    found = {}
    for model, table, answer in waiting:
        kinds = list(table.columns.values())
        found[model.name] = _keyed(model, [tuple(map(_replica_form, row, kinds)) for row in answer.result()])
    return found


def assert_equal(
    session: Session, keyspace: str, conninfo: str, models: Sequence[ReadModel], context: str
) -> dict[str, int]:
    """Fail unless every read model equals its SQL; rows of the SQL by read model. Nothing may be writing.

    Of a feed, partitions of readers who are marked need not be whole: they hold no row that the SQL has not.
    """
    counts = {}
    wanted, there = all_in_postgres(conninfo, models), all_in_cassandra(session, keyspace, models)
    for model in models:
        want, have = wanted[model.name], there[model.name]
        counts[model.name] = len(want)
        if model.fan_out is not None:
            marked = _marked(session, keyspace, model)
            want = {key: row for key, row in want.items() if key[0] not in marked or key in have}
            have = {key: want[key] if key[0] in marked and key in want else row for key, row in have.items()}
        if want != have:
            missing = {key: want[key] for key in want.keys() - have.keys()}
            extra = {key: have[key] for key in have.keys() - want.keys()}
            other = {key: (want[key], have[key]) for key in want.keys() & have.keys() if want[key] != have[key]}
            raise AssertionError(
                f"{context}: {model.name} differs from its SQL: {len(want)} rows wanted, {len(have)} there;"
                f"\n missing {_few(missing)}\n not in the SQL {_few(extra)}\n wanted, there: {_few(other)}"
            )
    return counts


def _marked(session: Session, keyspace: str, model: ReadModel) -> set[Any]:
    """Readers of a feed who are told that their partition is not whole."""
    table = skipped_readers_table(model, keyspace)
    (kind,) = table.columns.values()
    return {_replica_form(reader, kind) for (reader,) in session.execute(f"SELECT reader FROM {table.qualified}")}


@cache
def _in_replica_form(model: ReadModel) -> str:
    columns = cassandra_table(model, "any").columns
    converted = ", ".join(in_replica_form(f'v."{name}"', kind) for name, kind in columns.items())
    return f"SELECT {converted} FROM ({text_of(maintained(model).select)}) AS v"


def _few(rows: dict[Any, Any]) -> str:
    return f"({len(rows)}) {dict(list(rows.items())[:3])}"


def _keyed(model: ReadModel, rows: list[tuple[Any, ...]]) -> Rows:
    width = len(model.key)
    keyed = {row[:width]: row[width:] for row in rows}
    assert len(keyed) == len(rows), f"{model.name}: two rows share a key"
    return keyed


def _replica_form(value: Any, kind: ValueType) -> Any:
    if value is None:
        return None
    match kind.kind:
        case Kind.BOOLEAN:
            return int(value)
        case Kind.UUID:
            return str(value)
        case Kind.NUMERIC if kind.scale is not None:
            assert -value.as_tuple().exponent == kind.scale, f"{value} in a column of scale {kind.scale}"
            return int(value.scaleb(kind.scale))
        case Kind.NUMERIC:
            return format(value, "f")  # 0.00000000 is no 0E-8
        case Kind.DATE:
            return value.days_from_epoch
        case Kind.TIME:
            return value.nanosecond_time // 1_000
        case Kind.DOCUMENT:
            kinds = [of for _, of in kind.fields]
            return encode([tuple(map(_replica_form, row, kinds)) for row in value])
    return value
