"""What a worker takes for written, fills and publishes of columns that tables got after they were made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, select

from projections.added_columns import is_of, own_positions, position_name
from projections.read_model import ReadModel
from projector.added import AddedColumns
from projector.cassandra.progress import Position
from projector.compile.program import compile_models
from projector.replica.backfill import Backfills
from projector.replica.schema import open_replica
from projector.status import told_fill

T = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("a", Text), Column("b", Text))
MODEL = ReadModel(name="m", select=select(T), partition_key=("id",))
PROGRAM = compile_models((MODEL,))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = open_replica(None, PROGRAM, "log")
    made.execute("INSERT INTO main.t VALUES (1, 'x', 'y'), (2, 'x', 'y')")
    yield made
    made.close()


def positions(table: int, **columns: int) -> dict[str, Position]:
    """Published positions: of generation 2's table, and of columns of it."""
    lsns = {"m__g2": table, **{position_name("m__g2", name): lsn for name, lsn in columns.items()}}
    return {name: Position(lsn=lsn, epoch=1, committed_at=0) for name, lsn in lsns.items()}


def columns(connection: sqlite3.Connection) -> AddedColumns:
    return AddedColumns((MODEL,), {"m": "m__g2"}, Backfills(connection, PROGRAM))


def test_names_of_positions() -> None:
    assert own_positions({"m": 5, "m.a": 3, "m.z": 2, "mm.b": 1}, "m", ("a", "b")) == {"a": 3}
    assert is_of("m.a", "m")
    assert is_of("m", "m")
    assert not is_of("m__g2.a", "m")


def test_without_added_columns_the_table_says_it_all(connection: sqlite3.Connection) -> None:
    added = columns(connection)
    assert added.written("m", positions(50)) == 50
    added.begin(())
    assert not added.fills
    assert added.beside("m") == ()


def test_what_is_written_is_the_least_of_what_is_filled(connection: sqlite3.Connection) -> None:
    """A worker without the column has moved the table's position alone."""
    added = columns(connection)
    assert added.written("m", positions(50, a=30)) == 30
    assert added.beside("m") == ("m__g2.a",)


def test_a_pending_column_is_filled_once_the_replica_is_there(connection: sqlite3.Connection) -> None:
    added = columns(connection)
    assert added.written("m", positions(50, a=30, b=0)) == 30
    added.begin({"m"})
    assert not added.fills, "still silent"
    added.begin(())
    assert added.fills["m"].total == 2
    assert added.written("m", positions(60, a=30, b=0)) == -1, "others' writes don't count while it is under way"
    assert added.beside("m") == ("m__g2.a",)


def test_a_fill_ends_in_a_position_beside_the_tables(connection: sqlite3.Connection) -> None:
    backfills = Backfills(connection, PROGRAM)
    added = AddedColumns((MODEL,), {"m": "m__g2"}, backfills)
    added.written("m", positions(50, b=0))
    added.begin(())
    added.settle()
    assert added.beside("m") == (), "not yet"
    assert sum(touched for _ in range(3) for _, touched in backfills.work(1)) == 2
    added.settle()
    assert added.beside("m") == ("m__g2.b",)


def test_a_fill_goes_on_where_it_was(connection: sqlite3.Connection) -> None:
    first = Backfills(connection, PROGRAM)
    first.begin("m", ("b",))
    assert list(first.work(1)) == [("m", 1)]
    backfills = Backfills(connection, PROGRAM)
    added = AddedColumns((MODEL,), {"m": "m__g2"}, backfills)
    assert added.written("m", positions(99, b=0)) == -1
    added.begin(())
    assert backfills.open["m"].done == 1


def test_a_silent_fill_waits(connection: sqlite3.Connection) -> None:
    backfills = Backfills(connection, PROGRAM)
    backfills.begin("m", ("b",))
    assert list(backfills.work(9, silent={"m"})) == []
    assert list(backfills.work(9)) == [("m", 2)]


def test_a_table_that_nothing_is_published_of_is_filled_too(connection: sqlite3.Connection) -> None:
    added = columns(connection)
    added.look({name: position for name, position in positions(0, b=0).items() if name != "m__g2"})
    added.begin(())
    assert list(added.fills) == ["m"]


def test_status_says_what_is_to_be_filled() -> None:
    assert told_fill([], 3) == ""
    assert told_fill(["a"], None) == "a to be filled"
    assert told_fill(["a", "b"], 1200) == "a, b being filled, 1,200 source rows left"
