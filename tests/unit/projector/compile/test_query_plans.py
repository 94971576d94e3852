"""No generated statement scans a replica table: whatever a batch costs, it does not grow with the rows behind it."""

from __future__ import annotations

import re
import sqlite3

import pytest

from projections.read_model import ReadModel
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.oracle.views import MODELS


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_nothing_scans_a_replica_table(model: ReadModel) -> None:
    program = compile_models([model])
    connection = open_replica(None, program, "log")
    compiled = program.models[0]
    statements = [
        *(statement.sql for statement in compiled.touch),
        compiled.recompute.present,
        compiled.recompute.absent,
    ]
    for wide in (statement.wide for statement in compiled.touch if statement.wide is not None):
        statements += [wide.probe, wide.count, wide.whole, wide.rest, wide.slice, wide.first_slice]
        for end in (wide.end, wide.first_end):
            assert not scans(connection, end), end
            assert "TEMP B-TREE" not in plan(connection, end), end
    for group in program.groups:
        statements += [statement.sql for statement in group.statements]
        statements += [group.before, group.add, group.after, group.overflown]
        assert f"INDEX {group.name} empty" in plan(connection, group.drop_empty), group.drop_empty
    for sql in statements:
        assert not scans(connection, sql), sql


def test_a_scan_would_be_noticed() -> None:
    connection = open_replica(None, compile_models([MODELS[0]]), "log")
    assert scans(connection, 'SELECT 1 FROM main."d" AS o0 WHERE value = 1')
    assert scans(
        connection, 'SELECT 1 FROM temp."images of d" AS o0 CROSS JOIN main."d" AS o1 WHERE o0.value = o1.value'
    )
    assert not scans(connection, 'SELECT 1 FROM temp."images of d" AS o0 CROSS JOIN main."d" AS o1 WHERE o0.id = o1.id')


def plan(connection: sqlite3.Connection, sql: str) -> str:
    """EXPLAIN QUERY PLAN's steps."""
    given = dict.fromkeys(re.findall(r":(\w+)", sql), 1)
    return "\n".join(str(detail) for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", given))


def scans(connection: sqlite3.Connection, sql: str) -> list[str]:
    """Plan steps that read all of a replica table, or build an index over it for one statement."""
    tables = {
        alias: place for place, alias in re.findall(r'\b(main|temp)\."[^"]+"(?:(?: GROUP BY [^)]+)?\))? AS (\w+)', sql)
    }
    tables |= {"listed": "temp", "found": "temp"}  # the rows of a document, and of a count: as many as their bound
    assert "main" in tables.values() or "temp" in tables.values()
    steps = plan(connection, sql).splitlines()
    found = []
    for step in steps:
        words = step.split()
        if (
            words[0] in ("SCAN", "SEARCH")
            and not words[1].startswith("temp.")
            and tables.get(words[1], "main") == "main"
        ) and (words[0] == "SCAN" or "AUTOMATIC" in step):
            found.append(step)
    return found
