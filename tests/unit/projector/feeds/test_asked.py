"""Readers who were asked for are forgotten when that counts no more, and found by time."""

from __future__ import annotations

import pytest

from projector.apply.step import Step
from projector.compile.program import compile_models
from projector.feeds.inactive import Inactive
from projector.replica.schema import open_replica
from tests.oracle.feed_views import ACTIVE, of_edges

FEED = of_edges(9, active=ACTIVE)
NAME = FEED.model.name
WITHIN = ACTIVE.within.total_seconds() * 1e6


def test_who_was_asked_for_long_ago_is_forgotten() -> None:
    program = compile_models([FEED.model])
    connection = open_replica(None, program, "log")
    inactive: Inactive = Step(connection, program).feeds.inactive[NAME]
    asked = "SELECT reader FROM main.asked"

    def batch(at: float) -> list[tuple[int]]:
        inactive.clear(silent=False)
        inactive.end(int(at))
        list(inactive.asked())
        return connection.execute(asked).fetchall()

    connection.execute("INSERT INTO main.reader (id, seen) VALUES (1, 0), (2, 1 << 60)")
    for reader in (1, 2, 3):  # of the third there is no row
        inactive.asked_for(reader, 1_000)
    assert batch(1_000) == [(1,), (2,), (3,)]
    assert batch(WITHIN) == [(1,), (2,), (3,)]
    assert batch(1_001 + WITHIN) == []
    assert connection.execute("SELECT reader FROM main.inactive").fetchall() == [(1,)]


def test_who_passes_the_limit_is_looked_up_by_time() -> None:
    program = compile_models([FEED.model])
    connection = open_replica(None, program, "log")
    inactive = Step(connection, program).feeds.inactive[NAME]
    given = {"model": NAME, "low": 1, "high": 2}
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {inactive._passed}", given)]
    assert any("asked_at (model=? AND at>? AND at<?)" in step for step in plan), plan


def test_waking_readers_without_rows_take_their_turn_too() -> None:
    """A slice of three touches no more than three partitions, empty as they are."""
    program = compile_models([FEED.model])
    connection = open_replica(None, program, "log")
    inactive = Step(connection, program).feeds.inactive[NAME]
    connection.executemany("INSERT INTO main.waking VALUES (?, ?)", [(NAME, reader) for reader in range(10)])
    inactive.clear(silent=False)
    assert inactive.work(3) == []
    assert connection.execute("SELECT count(*) FROM main.waking").fetchone() == (7,)


def test_any_number_of_readers_in_a_batch_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch did to readers is the same when they are held three at a time."""
    outcomes = []
    for most in (10_000, 3):
        monkeypatch.setattr("projector.feeds.inactive._STIRRED_AT_ONCE", most)
        program = compile_models([FEED.model])
        connection = open_replica(None, program, "log")
        inactive = Step(connection, program).feeds.inactive[NAME]
        inactive.clear(silent=False)
        rows = [(reader, seen) for reader, seen in enumerate([1, 1 << 60, None, 5, 1 << 60, 7, 1 << 60])]
        connection.executemany("INSERT INTO main.reader (id, seen) VALUES (?, ?)", rows)
        for reader, seen in [*rows, *rows[::-1]]:
            inactive.changed("reader", {"id": reader, "seen": 3 if reader == 4 else seen}, {"id": reader, "seen": seen})
            assert len(inactive._oldest) < most
        inactive.end(int(WITHIN) + 100)
        list(inactive.asked())
        found = [
            connection.execute(f"SELECT reader FROM main.{kept} ORDER BY reader").fetchall()
            for kept in ("inactive", "waking")
        ]
        outcomes.append(found)
    assert outcomes[0] == outcomes[1] == [[(0,), (2,), (3,), (5,)], [(4,)]]
