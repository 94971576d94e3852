"""The writer against a real Cassandra: every kind comes back, timestamps decide, and what is refused is named."""

from __future__ import annotations

import time
import uuid
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cluster import Session

from projections.cassandra_table import CassandraTable, create_positions
from projections.read_model import Clustering
from projections.values import Kind, ValueType
from projector.cassandra.errors import (
    MissingTableError,
    RefusedRowError,
)
from projector.cassandra.progress import Position
from projector.cassandra.write import Writer
from tests.integration.write.stand import INT, TEXT, T, stored


def test_every_kind_is_read_back_by_a_plain_driver(session: Session, cassandra_session: Session, made: str) -> None:
    values: list[tuple[ValueType, Any, Any]] = [
        (ValueType(kind=Kind.BOOLEAN), 1, True),
        (ValueType(kind=Kind.INTEGER, bits=16), -32_768, -32_768),
        (INT, 2**31 - 1, 2**31 - 1),
        (ValueType(kind=Kind.INTEGER, bits=64), -(2**63), -(2**63)),
        (ValueType(kind=Kind.NUMERIC, precision=12, scale=2), -1_250, Decimal("-12.50")),
        (ValueType(kind=Kind.NUMERIC), "123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
        (ValueType(kind=Kind.FLOAT), 0.1, 0.1),
        (ValueType(kind=Kind.FLOAT), "-Infinity", float("-inf")),
        (TEXT, "naïve \0 🙂", "naïve \0 🙂"),
        (ValueType(kind=Kind.JSON), '{"a": 1}', '{"a": 1}'),
        (ValueType(kind=Kind.ARRAY), "[1, null]", "[1, null]"),
        (ValueType(kind=Kind.BYTES), b"\0\xff", b"\0\xff"),
        (ValueType(kind=Kind.TIMESTAMP), -1, -1),
        (ValueType(kind=Kind.TIMESTAMPTZ), 1_763_692_642_123_456, 1_763_692_642_123_456),
        (ValueType(kind=Kind.INTERVAL), 5, 5),
    ]
    named = {f"c{i}": kind for i, (kind, _, _) in enumerate(values)}
    table = CassandraTable(
        keyspace=made,
        name="kinds",
        columns={
            "id": ValueType(kind=Kind.UUID),
            "day": ValueType(kind=Kind.DATE),
            "at": ValueType(kind=Kind.TIME),
            **named,
        },
        partition_key=("id", "day"),
        clustering=(Clustering(column="at", descending=True),),
    )
    cassandra_session.execute(table.create())
    full, empty = uuid.uuid4(), uuid.uuid4()
    writer = Writer(session)
    writer.prepare(table)
    writer.upsert(
        "kinds",
        [
            (str(full), -1, 86_399_999_999, *(value for _, value, _ in values)),
            (str(empty), 20_000, 0, *(None for _ in values)),
        ],
        T,
    )
    writer.drain()
    rows = {row.id: row for row in cassandra_session.execute(f"select * from {table.qualified}")}
    assert rows[full].day.days_from_epoch == -1
    assert rows[full].at.nanosecond_time == 86_399_999_999_000
    assert [getattr(rows[full], name) for name in named] == [expected for _, _, expected in values]
    assert [getattr(rows[empty], name) for name in named] == [None] * len(named)


def test_the_write_time_is_the_timestamp_and_an_older_one_never_wins(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "new"), (1, 2, "new")], T)
    writer.drain()
    writer.upsert("notes", [(1, 1, "old")], T - 1)
    writer.delete("notes", [(1, 2)], T - 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 1, "new"), (1, 2, "new")}
    times = cassandra_session.execute(f"select writetime(v) as t from {notes.qualified}")
    assert {row.t for row in times} == {T}


def test_a_delete_ends_a_row_until_a_later_upsert(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "x"), (1, 2, "x"), (2, 1, "x")], T)
    writer.drain()
    writer.delete("notes", [(1, 1), (2, 1)], T + 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 2, "x")}
    writer.upsert("notes", [(1, 1, "x")], T)
    writer.upsert("notes", [(2, 1, "again")], T + 2)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 2, "x"), (2, 1, "again")}


def test_null_overwrites_a_value_and_keeps_the_row(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "x")], T)
    writer.drain()
    writer.upsert("notes", [(1, 1, None)], T + 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 1, None)}


def test_many_partitions_and_wide_ones_without_a_warning(
    writer: Writer, cassandra_session: Session, notes: CassandraTable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(n % 1_500, n, f"v{n}") for n in range(3_000)] + [(-1, n, "x" * 100) for n in range(2_000)]
    writer.upsert("notes", rows, T)
    writer.drain()
    assert stored(cassandra_session, notes) == set(rows)
    writer.delete("notes", [row[:2] for row in rows if row[1] % 2], T + 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {row for row in rows if not row[1] % 2}
    assert "atch" not in caplog.text, "the server warns about batches"


def test_the_row_that_cassandra_refuses_is_found_and_the_others_are_written(
    session: Session, cassandra_session: Session, made: str
) -> None:
    table = CassandraTable(
        keyspace=made, name="notes", columns={"a": INT, "b": INT, "v": TEXT}, partition_key=("a",), clustering=()
    )
    # The server's column takes less than the declaration says: only the server can refuse.
    cassandra_session.execute(table.create().replace('"v" text', '"v" ascii'))
    writer = Writer(session)
    writer.prepare(table)
    writer.upsert("notes", [(n, n, "é" if n == 17 else "e") for n in range(60)], T)
    with pytest.raises(RefusedRowError, match=r"notes\(a=17\).*ascii") as refused:
        writer.drain()
    assert [row.key for row in refused.value.rows] == [{"a": 17}]
    writer.drain()
    assert {row[0] for row in stored(cassandra_session, table)} == set(range(60)) - {17}


def test_a_row_refused_before_sending_is_named_by_drain_and_the_others_are_written(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "x"), (2**31, 1, "x"), (None, 2, "x"), (2, 2, "x")], T)
    with pytest.raises(RefusedRowError, match="2 row") as refused:
        writer.drain()
    assert [row.key["a"] for row in refused.value.rows] == [2**31, None]
    assert stored(cassandra_session, notes) == {(1, 1, "x"), (2, 2, "x")}


@pytest.mark.parametrize("mebibytes", [17, 40])
def test_a_row_larger_than_the_server_takes_is_refused(
    writer: Writer, cassandra_session: Session, notes: CassandraTable, mebibytes: int
) -> None:
    writer.upsert("notes", [(1, 1, "x"), (1, 2, "x" * (mebibytes << 20)), (2, 1, "x")], T)
    with pytest.raises(RefusedRowError) as refused:
        writer.drain()
    assert [row.key for row in refused.value.rows] == [{"a": 1, "b": 2}]
    writer.upsert("notes", [(3, 1, "x")], T)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 1, "x"), (2, 1, "x"), (3, 1, "x")}


def test_a_statement_that_the_server_forgot_is_prepared_again(
    session: Session, cassandra_session: Session, notes: CassandraTable
) -> None:
    retries: list[str] = []
    writer = Writer(session, on_retry=retries.append)
    writer.prepare(notes)
    cassandra_session.execute(f"alter table {notes.qualified} add w int")  # evicts what was prepared on the table
    rows = [(n, n, "x") for n in range(500)]
    writer.upsert("notes", rows, T)
    writer.drain()
    assert stored(cassandra_session, notes) == set(rows)
    assert set(retries) == {"unprepared"}


def test_a_missing_table_is_an_error_with_a_remedy(
    session: Session, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer = Writer(session)
    writer.prepare(notes)
    cassandra_session.execute(f"drop table {notes.qualified}")
    with pytest.raises(MissingTableError, match="projector setup"):
        Writer(session).prepare(notes)
    writer.upsert("notes", [(1, 1, "x")], T)
    with pytest.raises(MissingTableError, match="projector setup"):
        writer.drain()


def test_positions_are_published_and_never_go_back(
    session: Session, cassandra_session: Session, writer: Writer, made: str
) -> None:
    place = {"keyspace": made, "projection": "p"}
    with pytest.raises(MissingTableError, match="projector setup"):
        writer.read_positions(**place)
    cassandra_session.execute(create_positions(made))
    assert writer.read_positions(**place) == {}
    writer.publish_positions({"x": 200, "y": 200}, 5_000_000, 1, **place)
    writer.publish_positions({"x": 100, "y": 300}, 6_000_000, 1, **place)
    writer.publish_positions({"x": 900}, 6_000_000, 1, **place, shard=1)
    assert writer.read_positions(**place) == {
        "x": Position(lsn=200, epoch=1, committed_at=5_000_000),
        "y": Position(lsn=300, epoch=1, committed_at=6_000_000),
    }
    writer.publish_positions({"x": 50}, 7_000_000, 2, **place)
    assert writer.read_positions(**place)["x"] == Position(lsn=50, epoch=2, committed_at=7_000_000)


def test_a_single_row_is_acknowledged_at_once(writer: Writer) -> None:
    took = []
    for n in range(100):
        began = time.perf_counter()
        writer.upsert("notes", [(1, n, "x")], T)
        writer.drain()
        took.append(time.perf_counter() - began)
    assert sorted(took)[50] < 0.02, "a lost wake-up costs at least the writer's 0.1 s look-around"
