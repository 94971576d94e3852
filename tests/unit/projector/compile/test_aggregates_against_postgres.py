"""Every aggregate that a read model may use gives what PostgreSQL gives, when rows come and when they go again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from projections.read_model import ReadModel
from projector.compile.catalogue import AGGREGATES, SAMPLE
from projector.compile.names import images_name, replica_name, touched_name
from projector.compile.program import Program, compile_models
from projector.replica.groups import GroupError, Groups
from projector.replica.schema import open_replica
from tests.unit.projector.compile.against_postgres import VALUES, there, written

c = SAMPLE.c
EXAMPLES = [text for entry in AGGREGATES for text in entry.examples]
Rows = dict[int, dict[str, Any]]


@cache
def compiled(text: str) -> tuple[Program, sqlite3.Connection, ReadModel]:
    """The example over groups of seven rows."""
    group = c.id // 7
    model = ReadModel(
        name="m", select=select(group.label("id"), written(text).label("r")).group_by(group), partition_key=("id",)
    )
    program = compile_models([model])
    return program, open_replica(None, program, "log"), model


class Table:
    """The sample's rows in a replica, and the groups over them."""

    def __init__(self, program: Program, connection: sqlite3.Connection) -> None:
        self._program, self._connection = program, connection
        self._groups = Groups(connection, program.groups)
        self._groups.reset()
        for name in (images_name("v"), touched_name("m"), replica_name("v")):
            connection.execute(f"DELETE FROM {name}")
        for group in program.groups:
            connection.execute(f"DELETE FROM {replica_name(group.name)}")

    def change(self, rows: Rows, weight: int) -> None:
        """Rows come (1) or go (-1)."""
        run = self._connection.execute
        self._groups.clear()
        run(f"DELETE FROM {images_name('v')}")
        for at, row in rows.items():
            values = (at, *row.values())
            if weight > 0:
                run(f"INSERT INTO {replica_name('v')} VALUES ({', '.join('?' * len(values))})", values)
            else:
                run(f"DELETE FROM {replica_name('v')} WHERE id = ?", (at,))
            run(f"INSERT INTO {images_name('v')} VALUES ({', '.join('?' * len(values))}, {weight})", values)
        self._groups.update(frozenset({"v"}))

    def result(self) -> dict[int, Any]:
        """The read model's rows."""
        run = self._connection.execute
        for touched in range(20):
            run(f"INSERT OR IGNORE INTO {touched_name('m')} VALUES (?)", (touched,))
        return dict(run(self._program.models[0].recompute.present).fetchall())


def random_rows(rng: Random, program: Program) -> Rows:
    """Up to forty rows, nulls among them."""
    used = [name for name in program.tables["public.v"].columns if name != "id"]
    return {at: {n: None if rng.random() < 0.2 else VALUES[n](rng) for n in used} for at in rng.sample(range(90), 40)}


@pytest.fixture(scope="module")
def postgres(judge: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection under UTC."""
    with psycopg.connect(judge, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok', 'happy')")
        yield connection


@pytest.mark.parametrize("text", EXAMPLES)
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(rng=st.randoms(use_true_random=True))
def test_gives_what_postgres_gives(text: str, rng: Random, postgres: psycopg.Connection[Any]) -> None:
    program, connection, model = compiled(text)
    rows = random_rows(rng, program)
    table = Table(program, connection)
    table.change(rows, 1)
    assert table.result() == there(postgres, program, model, rows)
    gone = dict(rng.sample(list(rows.items()), 25))
    table.change(gone, -1)
    assert table.result() == there(postgres, program, model, {at: rows[at] for at in rows.keys() - gone.keys()})


def test_a_sum_beyond_64_bits_names_the_group_and_the_way_out() -> None:
    program, connection, _ = compiled("func.sum(c.big)")
    table = Table(program, connection)
    table.change({21: {"big": (1 << 63) - 1}}, 1)
    with pytest.raises(GroupError, match=r"sum\(v\.big\) of the group \(3\) over v leaves the 64 bits .* refresh="):
        table.change({22: {"big": 1}}, 1)


def test_a_sum_beyond_64_bits_within_one_batch_is_noticed() -> None:
    program, connection, _ = compiled("func.sum(c.big)")
    with pytest.raises(GroupError, match="a sum over v leaves the 64 bits"):
        Table(program, connection).change({21: {"big": (1 << 63) - 1}, 22: {"big": (1 << 63) - 1}}, 1)


def test_a_group_without_rows_is_gone_and_one_with_less_is_refused() -> None:
    program, connection, _ = compiled("func.sum(c.i)")
    table = Table(program, connection)
    table.change({1: {"i": 5}}, 1)
    assert table.result() == {0: 5}
    table.change({1: {"i": 5}}, -1)
    assert table.result() == {}
    with pytest.raises(GroupError, match="damaged; delete it"):
        table.change({2: {"i": 5}}, -1)
