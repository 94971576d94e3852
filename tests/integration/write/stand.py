"""What the tests of the writer share: types, a timestamp, and the rows of a table."""

from __future__ import annotations

from typing import Any

from cassandra.cluster import Session

from projections.cassandra_table import CassandraTable, write_timestamp
from projections.values import Kind, ValueType

TEXT = ValueType(kind=Kind.TEXT)

INT = ValueType(kind=Kind.INTEGER, bits=32)

T = write_timestamp(1, 1_000)


def stored(cassandra_session: Session, table: CassandraTable) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in cassandra_session.execute(f"select a, b, v from {table.qualified}")}
