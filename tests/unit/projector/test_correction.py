"""A row that makes a group's SQL fail does so no longer once it is corrected, though its image is still in the batch."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, cast, func, select

from projections.read_model import ReadModel
from projector.compile.program import compile_models
from projector.replica.groups import Groups
from projector.replica.schema import open_replica

lines = Table("lines", MetaData(), Column("id", Integer, primary_key=True), Column("price", BigInteger, nullable=False))
TOTAL = ReadModel(
    name="total",
    select=select(
        (lines.c.id // 10).label("tens"),
        func.sum(cast(lines.c.price, BigInteger) * 1_000_000).label("price"),
    ).group_by(lines.c.id // 10),
    partition_key=("tens",),
)
TOO_LARGE = 1 << 62


def test_a_corrected_row_stops_nobody() -> None:
    program = compile_models([TOTAL])
    connection = open_replica(None, program, "log")
    groups = Groups(connection, program.groups)
    connection.executemany('INSERT INTO temp."images of lines" VALUES (?, ?, ?)', [(1, TOO_LARGE, 0), (1, 7, 1)])
    groups.update(frozenset({"lines"}))
    assert connection.execute(f'SELECT n, m1 FROM main."{program.groups[0].name}"').fetchall() == [(1, 7_000_000)]


def test_a_row_that_stands_does() -> None:
    program = compile_models([TOTAL])
    connection = open_replica(None, program, "log")
    connection.execute('INSERT INTO temp."images of lines" VALUES (?, ?, ?)', (1, TOO_LARGE, 1))
    with pytest.raises(Exception, match="user-defined function"):
        Groups(connection, program.groups).update(frozenset({"lines"}))
