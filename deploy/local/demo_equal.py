"""Is a read model equal to its SQL? Both are read whole and compared row for row.

Right only while nobody writes to the source tables and the read model covers them, which the caller sees to. Rows are
compared in the form that Cassandra holds (`projections.values`): a timestamp is its microseconds, a date its days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cassandra.query import SimpleStatement
from psycopg.types.string import TextLoader
from sqlalchemy import Select
from sqlalchemy.dialects import postgresql

from deploy.local.demo_servers import TUPLES, DemoError, Servers
from projections import document_values
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from projections.values import Kind, ValueType
from projector.verify import cassandra_values

_FETCH_ROWS = 5_000
_PAGE_ROWS = 400  # a null that is written is a tombstone to Cassandra, which warns of a thousand in a page
_SAMPLES = 3
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY = _EPOCH.date().toordinal()
_MICROSECOND = dt.timedelta(microseconds=1)

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """rows: of the SQL. missing, surplus: rows of one side alone (a row that differs is both). samples: a few of them."""

    rows: int
    missing: int
    surplus: int
    samples: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Nothing differs."""
        return not self.missing and not self.surplus


def compare(servers: Servers, model: ReadModel) -> Comparison:
    """Run the read model's select() on Postgres and hold its table against it."""
    return difference(sql_rows(servers, model), table_rows(servers, model))


def difference(expected: Iterator[Row], actual: Iterator[Row]) -> Comparison:
    """Compare two sets of rows; `expected` is held in memory. A row that comes twice in `expected` is a fault too."""
    rows: set[Row] = set()
    twice = 0
    for row in expected:
        twice += row in rows
        rows.add(row)
    count = len(rows) + twice
    surplus = []
    for row in actual:
        if row in rows:
            rows.discard(row)
        else:
            surplus.append(row)
    samples = [f"only in SQL: {row}" for row in list(rows)[:_SAMPLES]]
    samples += [f"only in Cassandra: {row}" for row in surplus[:_SAMPLES]]
    return Comparison(rows=count, missing=len(rows) + twice, surplus=len(surplus), samples=tuple(samples))


def sql_text(select: Select[Any]) -> str:
    """The select() as Postgres is sent it, its constants written out."""
    return str(select.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]


def sql_rows(servers: Servers, model: ReadModel) -> Iterator[Row]:
    """Rows of the select() in the table's column order and form."""
    table = cassandra_table(model, servers.settings.cassandra.keyspace)
    places = [list(model.columns).index(column) for column in table.columns]
    converters = [from_postgres(model, column) for column in table.columns]
    with servers.postgres.transaction(), servers.postgres.cursor(name="demo") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.adapters.register_loader("json", TextLoader)  # the numbers in a document must not become floats
        cursor.execute(sql_text(model.select).encode())
        for row in cursor:
            yield tuple(convert(row[place]) for place, convert in zip(places, converters, strict=True))


def table_rows(servers: Servers, model: ReadModel) -> Iterator[Row]:
    """Rows of the Cassandra table, dates as days, documents in replica form."""
    table = cassandra_table(model, servers.settings.cassandra.keyspace)
    names = ", ".join(f'"{column}"' for column in table.columns)
    statement = SimpleStatement(f"SELECT {names} FROM {table.qualified}", fetch_size=_PAGE_ROWS)
    readers = [
        (place, reader)
        for place, kind in enumerate(table.columns.values())
        if kind.kind in (Kind.DATE, Kind.DOCUMENT) and (reader := cassandra_values.reader(kind)) is not None
    ]
    for row in servers.cassandra.execute(statement, execution_profile=TUPLES, timeout=60):
        if readers:
            values = list(row)
            for place, read in readers:
                values[place] = None if values[place] is None else read(values[place])
            row = tuple(values)
        yield row


def from_postgres(model: ReadModel, column: str) -> Callable[[Any], Any]:
    """What turns psycopg's value of a column into the table's; raises DemoError for a kind not compared here."""
    kind = model.columns[column]
    convert = _converter(kind)
    if convert is None:
        raise DemoError(
            f"{model.name}.{column} is a {kind.kind}, which the demonstration can't compare",
            hint="run it on the read models of the reference application",
        )
    return lambda value: None if value is None else convert(value)


def _converter(kind: ValueType) -> Callable[[Any], Any] | None:
    match kind.kind:
        case Kind.TIMESTAMPTZ:
            return lambda value: (value - _EPOCH) // _MICROSECOND
        case Kind.TIMESTAMP:
            return lambda value: (value.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
        case Kind.DATE:
            return lambda value: value.toordinal() - _EPOCH_DAY
        case Kind.DOCUMENT:
            return lambda text: document_values.from_postgres(text, kind.fields)
        case Kind.BOOLEAN | Kind.INTEGER | Kind.NUMERIC | Kind.TEXT | Kind.UUID | Kind.BYTES:
            return lambda value: value
    return None
