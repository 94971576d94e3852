"""The numbers of Postgres's columns that a replica's values are of: learnt, kept, and refused when one is another."""

from __future__ import annotations

import json
import sqlite3

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, select

from command_api.envelope import Place, Record, Source
from projections.read_model import ReadModel
from projector.apply.step import Step
from projector.apply.transaction import Changes, Transaction
from projector.compile.program import Program, compile_models
from projector.replica.numbered import Numbered
from projector.replica.schema import open_replica
from projector.replica.values import ReplacedColumnError, ValueFormatError

v = Table("v", MetaData(), Column("id", Integer, primary_key=True), Column("s", Text), Column("unread", Text))
MODEL = ReadModel(name="m", select=select(v.c.id, v.c.s), partition_key=("id",))
OFFSET = 70


def transaction(columns: object, *, snapshot: bool = False) -> Transaction:
    """One row more, whose END has these columns."""
    changes = Changes()
    after = json.dumps({"id": 1, "s": "a"}).encode()
    changes.append(
        Record(op="c", after=after, source=Source(table="v"), transaction=Place(id="1:9", total_order=1)),  # type: ignore[arg-type]
        b"",
        OFFSET,
    )
    text = b"" if columns is None else json.dumps(columns).encode()
    return Transaction(10, 0, changes, OFFSET + 2, snapshot=snapshot, columns=text)


def numbers(**of: int) -> dict[str, dict[str, int]]:
    return {"public.v": of}


@pytest.fixture
def program() -> Program:
    return compile_models([MODEL])


@pytest.fixture
def connection(program: Program) -> sqlite3.Connection:
    return open_replica(None, program, "log")


def test_another_number_of_a_column_that_is_read_is_refused_before_its_row(
    program: Program, connection: sqlite3.Connection
) -> None:
    step = Step(connection, program)
    step.take([transaction(numbers(id=1, s=2, unread=3))])
    with pytest.raises(ReplacedColumnError) as caught:
        step.take([transaction(numbers(id=1, s=4, unread=3))])
    said = str(caught.value)
    assert f"log offset {OFFSET}: public.v.s: this is another column" in said
    assert "number 4 in Postgres's catalog, it was 2" in said
    assert "relay snapshot" in said
    assert caught.value.offset == OFFSET


def test_what_nobody_reads_may_have_any_number_and_an_end_none(
    program: Program, connection: sqlite3.Connection
) -> None:
    numbered = Numbered(connection, program)
    for found in (numbers(id=1, s=2, unread=3), numbers(id=1, s=2, unread=9), {"public.w": {"s": 5}}, None, {}):
        numbered.look(transaction(found))
    numbered.look(transaction(numbers(id=1)))  # a column that is dropped: the record without it stops
    with pytest.raises(ReplacedColumnError):
        numbered.look(transaction(numbers(id=1, s=4)))


def test_a_snapshot_has_every_value_and_what_agreed_before_it_does_so_no_more(
    program: Program, connection: sqlite3.Connection
) -> None:
    numbered = Numbered(connection, program)
    numbered.look(transaction(numbers(id=1, s=2)))
    numbered.look(transaction(numbers(id=1, s=4), snapshot=True))
    numbered.look(transaction(numbers(id=1, s=4)))
    with pytest.raises(ReplacedColumnError):
        numbered.look(transaction(numbers(id=1, s=2)))


def test_the_numbers_are_the_replicas_and_go_with_what_is_rolled_back(
    program: Program, connection: sqlite3.Connection
) -> None:
    Numbered(connection, program).look(transaction(numbers(id=1, s=2)))
    again = Numbered(connection, program)
    connection.execute("BEGIN")
    again.look(transaction(numbers(id=1, s=4), snapshot=True))
    connection.execute("ROLLBACK")
    again.reread()
    with pytest.raises(ReplacedColumnError):
        again.look(transaction(numbers(id=1, s=4)))
    again.look(transaction(numbers(id=1, s=2)))


def test_columns_that_are_none_stop_at_their_transaction(program: Program, connection: sqlite3.Connection) -> None:
    for garbage in (5, [], {"public.v": {"s": "x"}}):
        with pytest.raises(ValueFormatError, match=f"log offset {OFFSET}: the columns of its END"):
            Step(connection, program).take([transaction(garbage)])
