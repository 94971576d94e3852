"""A batch's images, touched keys and rows; what a rollback leaves; what a value without an answer says."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    cast,
    extract,
    func,
    select,
)

from projections.read_model import ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import MaintenanceError, Step
from projector.apply.transaction import Transaction
from projector.compile.program import Program, compile_models
from projector.replica import images, schema
from projector.replica.schema import Position, open_replica, read_position, write_position
from projector.replica.values import ValueFormatError
from tests.oracle.history import Commit, Event
from tests.oracle.log import encoded
from tests.oracle.values import of

v = Table(
    "v", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer, nullable=False), Column("s", Text)
)
w = Table(
    "w",
    v.metadata,
    Column("id", Integer, primary_key=True),
    Column("n", Integer),
    Column("b", BigInteger),
    Column("at", DateTime(timezone=True)),
)
MODEL = ReadModel(
    name="m",
    select=select(v.c.n, v.c.id, v.c.s, (v.c.n * 2).label("double")),
    partition_key=("n",),
    clustering_key=("id",),
)


def row(i: int, n: int, s: str | None = None) -> dict[str, Any]:
    return {"id": of(i), "n": of(n), "s": of(s)}


def transaction(end: int, *events: Event) -> Transaction:
    commit = Commit(str(end), events, {}, end - 1, end, (end - 1,) * len(events))
    (found,) = Assembler(0).feed(enumerate(value for _, value in encoded(commit)))
    assert isinstance(found, Transaction)
    return found


def put(i: int, n: int, s: str | None = None) -> Event:
    return Event(v, "u", after=row(i, n, s))


def result(step: Step, program: Program) -> tuple[set[Any], set[Any]]:
    (model,) = program.models
    present = {tuple(r) for rows in step.present(model) for r in rows}
    return present, {tuple(r) for rows in step.absent(model) for r in rows}


@pytest.fixture
def program() -> Program:
    return compile_models([MODEL])


def test_the_first_rows_are_given_before_the_others_are_made(program: Program) -> None:
    step, (model,) = Step(open_replica(None, program, "log"), program), program.models
    step.take([transaction(9, *(put(i, i) for i in range(5_000)))])
    sizes = [len(rows) for rows in step.present(model)]
    assert sizes == [250, 500, 1_000, 2_000, 1_250]


@pytest.fixture
def connection(program: Program) -> sqlite3.Connection:
    return open_replica(None, program, "log")


def test_a_moved_row_is_written_at_its_new_key_and_deleted_at_each_it_ever_had(
    program: Program, connection: sqlite3.Connection
) -> None:
    step = Step(connection, program)
    assert step.take([transaction(10, put(1, 1, "a"))]) == {"m": 1}
    step.take([transaction(20, put(1, 2, "b")), transaction(30, put(1, 3, "c"))])
    assert result(step, program) == ({(3, 1, "c", 6)}, {(1, 1), (2, 1)})


def test_a_rolled_back_batch_leaves_nothing(program: Program, connection: sqlite3.Connection) -> None:
    step = Step(connection, program)
    connection.execute("BEGIN")
    step.take([transaction(10, put(1, 1), put(2, 2))])
    write_position(connection, Position(lsn=10, applied_lsn=10, offset=4, committed_at=5))
    connection.execute("ROLLBACK")
    step.reset()
    assert read_position(connection) == Position()
    assert result(step, program) == (set(), set())
    connection.execute("BEGIN")
    step.take([transaction(10, put(1, 1))])
    connection.execute("COMMIT")
    assert result(step, program) == ({(1, 1, None, 2)}, set())


def test_a_file_is_as_last_committed_after_a_rollback(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a batch keeps in temporary tables isn't journalled there: a worker that rolls back ends, and the next begins anew.

    The caches are small, so that pages of the batch have reached the files by then.
    """
    monkeypatch.setattr(schema, "CACHE_KIB", 64)
    monkeypatch.setattr(schema, "IMAGES_CACHE_KIB", 64)
    path = tmp_path / "replica.sqlite"
    connection = open_replica(path, program, "log")
    step = Step(connection, program)
    connection.execute("BEGIN")
    step.take([transaction(10, *(put(i, i, "a" * 300) for i in range(5_000)))])
    write_position(connection, Position(lsn=10, applied_lsn=10, offset=4, committed_at=5))
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    step.take([transaction(20, *(put(i, 7, "b" * 300) for i in range(5_000)))])
    connection.execute("ROLLBACK")
    assert read_position(connection).lsn == 10
    connection.close()
    again = open_replica(path, program, "log")
    assert again.execute("SELECT count(*), max(n), max(s) FROM main.v").fetchone() == (5_000, 4_999, "a" * 300)
    step = Step(again, program)
    again.execute("BEGIN")
    step.take([transaction(20, Event(v, "t"), put(1, 1, "y"))])
    present, absent = result(step, program)
    assert present == {(1, 1, "y", 2)}
    assert absent == {(i, i) for i in range(5_000) if i != 1}
    again.execute("COMMIT")


def test_a_batch_of_many_parts_is_the_same(
    program: Program, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [put(i % 7, i % 5, str(i)) for i in range(100)]
    events += [Event(v, "d", before=row(3, 0)), Event(v, "c", after=row(9, 4, "moved"))]
    whole = Step(connection, program)
    whole.take([transaction(10, *events)])
    expected = result(whole, program)
    monkeypatch.setattr(images, "PART", 3)
    other = open_replica(None, program, "log")
    parts = Step(other, program)
    parts.take([transaction(10, *events)])
    assert result(parts, program) == expected


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_key_change_keeps_what_was_left_out_whatever_the_parts(
    part: int, program: Program, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PART", part)
    step = Step(connection, program)
    step.take([transaction(10, put(1, 1, "long"))])
    moved = Event(v, "c", after=row(2, 1, "long"), unchanged=frozenset(["s"]))
    step.take([transaction(20, Event(v, "d", before=row(1, 0)), moved)])
    assert result(step, program) == ({(1, 2, "long", 2)}, {(1, 1)})


def test_a_value_left_out_of_an_unknown_row_is_an_error_with_the_way_on(
    program: Program, connection: sqlite3.Connection
) -> None:
    step = Step(connection, program)
    with pytest.raises(ValueFormatError, match=r"public\.v\.s.*snapshot"):
        step.take([transaction(10, Event(v, "u", after=row(1, 1, "x"), unchanged=frozenset(["s"])))])


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (w.c.n * 2, r"32-bit integer\. Postgres fails on it too.*cast\(x, BigInteger\)"),
        (w.c.b * 2, r"beyond 64 bits\. Postgres fails on a bigint too"),
        (cast(w.c.n, Numeric(18, 8)) * w.c.n, r"exact here up to 18 digits.*refresh="),
        (func.abs(w.c.b, type_=BigInteger), r"smallest 64-bit integer.*correct the row"),
        (extract("year", w.c.at), r"year of an infinite timestamp.*WHERE"),
    ],
)
def test_a_value_out_of_range_says_what_where_and_the_remedy(expression: Any, said: str) -> None:
    model = ReadModel(name="wide", select=select(w.c.id, expression.label("x")), partition_key=("id",))
    program = compile_models([model])
    step = Step(open_replica(None, program, "log"), program)
    extremes = {"id": of(1), "n": of(2_000_000_000), "b": of(-(1 << 63)), "at": of("infinity")}
    step.take([transaction(10, Event(w, "c", after=extremes))])
    with pytest.raises(MaintenanceError, match=f"read model wide: .*{said}"):
        result(step, program)
