"""What is no record, no value, or nobody's: the log offset, the place and the way on; and what passes by."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    select,
)

from command_api.envelope import LogRecordError
from projections.read_model import ReadModel
from projector.apply.consume import Assembler, LogGapError
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.compile.names import replica_name
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from projector.replica.values import ValueFormatError
from tests.oracle.history import Commit, Event
from tests.oracle.log import encoded
from tests.oracle.values import Value, of

UUID = "0190a000-0000-7000-8000-000000000001"
v = Table(
    "v",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("n", BigInteger),
    Column("s", Text),
    Column("ok", Boolean),
    Column("u", Uuid),
    Column("price", Numeric(12, 2)),
    Column("f", Float),
    Column("day", Date),
    Column("at", DateTime(timezone=True)),
    Column("data", LargeBinary),
    Column("state", Enum("old", "new", name="state")),
    Column("unread", Text),
)
READ = [column for column in v.c if column.name != "unread"]
MODEL = ReadModel(name="m", select=select(*READ), partition_key=("id",))
ROW = {
    "id": of(1), "n": of(1), "s": of("x"), "ok": of(True), "u": of(UUID), "price": of("1.00"), "f": Value("1.5", 1.5), "day": of(19_000),
    "at": of("2024-03-01T00:00:00.000000Z"), "data": of("eA=="), "state": of("old"), "unread": of("x"),
}  # fmt: skip


def written(count: int = 3, end: int = 100) -> list[bytes]:
    """A transaction of inserts: BEGIN at offset 0, the rows from 1 on, END."""
    events = tuple(Event(v, "c", after={**ROW, "id": of(i + 1)}) for i in range(count))
    return [value for _, value in encoded(Commit("7", events, {}, end - 1, end, (end - 1,) * count))]


def changed(value: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    record = json.loads(value)
    change(record)
    return json.dumps(record).encode()


def applied(log: list[bytes], skipped: set[int] | None = None) -> set[int]:
    """The ids in the replica after the log."""
    program = compile_models([MODEL])
    connection = open_replica(None, program, "log")
    step = Step(connection, program)
    items = Assembler(0, skipped=skipped or ()).feed(enumerate(log))
    transactions = [item for item in items if isinstance(item, Transaction)]
    try:
        step.take(transactions)
    finally:
        for transaction in transactions:
            transaction.changes.close()
    return {id_ for (id_,) in connection.execute(f"SELECT id FROM {replica_name(v.fullname)}")}


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        b"[]",
        b"null",
        b'{"op": "u", "after": \xff}',
        b'{"hello": 1}',
        b'{"op": 5}',
        b'{"op": "z", "source": {"table": "v"}, "transaction": {"id": "7:1", "total_order": 1}}',
        b'{"op": "c", "after": {"id": 1}}',
        b'{"op": "c", "source": {"table": 7}, "transaction": {"id": "7:1", "total_order": 1}}',
        b'{"op": "c", "source": {"table": "v"}, "transaction": {"id": "7:1", "total_order": "one"}}',
        b'{"op": "c", "source": {"table": "v"}, "transaction": {"id": "7:1"}}',
        b'{"status": "MIDDLE", "id": "7:1"}',
        b'{"status": "BEGIN"}',
        b'{"status": "BEGIN", "id": "7"}',
        '{"status": "BEGIN", "id": "7:²"}'.encode(),
        b'{"status": "END", "id": "7:100"}',
        b'{"status": "END", "id": "7:%d", "event_count": 0}' % (1 << 60),
        b'{"status": "END", "id": "7:' + b"9" * 5_000 + b'", "event_count": 0}',
        b'{"lsn": %d}' % (1 << 60),
        b'{"lsn": -1}',
        b'{"lsn": 500, "ts_us": %d}' % (1 << 70),
        b'{"op": "c", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_garbage_stops_with_its_offset_and_is_passed_over_when_that_is_said(garbage: bytes) -> None:
    log = [*written(), garbage, *written(1, 200)]
    with pytest.raises(LogRecordError, match=r"(?s)log offset 5: .*skip --offset 5") as stopped:
        applied(log)
    assert len(str(stopped.value)) < 600, "garbage is not repeated at length"
    assert applied(log, {5}) == {1, 2, 3}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", None),
        ("id", "1"),
        ("id", 1 << 31),
        ("n", "many"),
        ("n", 1 << 63),
        ("n", 1.5),
        ("s", 5),
        ("s", {"a": "b"}),
        ("ok", "yes"),
        ("u", "no uuid"),
        ("price", 1.5),
        ("price", "NaN"),
        ("price", "1.234"),
        ("price", "twelve"),
        ("f", "fast"),
        ("day", "2024-03-01"),
        ("at", 5),
        ("at", "yesterday"),
        ("data", "not base64!"),
        ("state", 7),
    ],
)
@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_a_value_of_another_type_stops_with_offset_table_and_column(column: str, value: Any, op: str) -> None:
    log = written()
    log[2] = changed(log[2], lambda record: record.update(op=op, after={**record["after"], column: value}))
    with pytest.raises(ValueFormatError, match=rf"log offset 2: public\.v\.{column}.*Postgres.*skip --offset 2"):
        applied(log)
    assert applied(log, {2}) == {1, 3}, "what is passed over keeps its place in the transaction"


@pytest.mark.parametrize("column", [column.name for column in READ])
def test_a_column_that_is_read_and_missing_stops(column: str) -> None:
    log = written()
    log[3] = changed(log[3], lambda record: record["after"].pop(column))
    with pytest.raises(ValueFormatError, match=rf"log offset 3: public\.v\.{column} \(a read model reads it\)"):
        applied(log)


@pytest.mark.parametrize("image", [None, [], "row", {}])
@pytest.mark.parametrize(("op", "side"), [("c", "after"), ("u", "after"), ("d", "before")])
def test_an_image_that_is_none_stops(op: str, side: str, image: Any) -> None:
    log = written()
    log[1] = changed(log[1], lambda record: record.update({"op": op, "before": None, "after": None, side: image}))
    with pytest.raises(ValueFormatError, match=r"log offset 1: public\.v"):
        applied(log)


def test_the_offset_is_right_also_in_a_transaction_that_was_spilled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projector.apply.transaction.SPILL_BYTES", 1_000)
    log = written(30)
    log[25] = changed(log[25], lambda record: record["after"].update(n="many"))
    with pytest.raises(ValueFormatError, match=r"log offset 25: public\.v\.n"):
        applied(log)
    assert len(applied(log, {25})) == 29


def test_what_nobody_reads_passes_by() -> None:
    log = written(6)
    log[1] = changed(log[1], lambda record: record["after"].update(unread={"any": ["thing"]}))
    log[2] = changed(log[2], lambda record: record["after"].pop("unread"))
    log[3] = changed(log[3], lambda record: record["after"].update(another=1))
    log[4] = changed(log[4], lambda record: record["source"].update(table="unknown"))
    log[5] = changed(log[5], lambda record: record["source"].update(schema="foreign"))
    log[6] = changed(log[6], lambda record: record["after"].update(state="newer than the declaration"))
    assert applied(log) == {1, 2, 3, 6}


def test_passing_over_what_is_not_of_a_transaction_leaves_its_gap() -> None:
    log = written()
    with pytest.raises(LogGapError):
        applied([*log[:2], b"in the place of a record", *log[3:], *written(1, 200)], {2})
