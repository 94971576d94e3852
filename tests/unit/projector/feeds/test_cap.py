"""When partitions are trimmed again: those that failed must not hold up others, nor those of which too little is known be forgotten."""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import pytest

from projector.apply.step import Step
from projector.cassandra.trim import Trimmed
from projector.compile.program import compile_models
from projector.feeds.cap import Cap, trim_at
from projector.replica.schema import open_replica
from tests.oracle.feed_views import of_edges
from tests.oracle.test_counter_examples import commit, transactions
from tests.oracle.test_counter_examples_of_partitions import follows, says

FEED = of_edges(9, cap=4)
NAME = FEED.model.name
READERS = range(100)
AT_ONCE = 32


class Clock:
    """Time that the test moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def connection() -> sqlite3.Connection:
    return open_replica(None, compile_models([FEED.model]), "log")


def cap_of(connection: sqlite3.Connection, clock: Clock) -> Cap:
    """Of a hundred readers, each with many more rows than the cap."""
    connection.execute("BEGIN")
    connection.executemany("INSERT OR REPLACE INTO main.copies VALUES (?, ?, 99)", [(NAME, r) for r in READERS])
    connection.execute("COMMIT")
    cap = Step(connection, compile_models([FEED.model])).feeds.caps[NAME]
    cap.clock = clock
    return cap


def test_one_that_fails_holds_up_no_other_and_is_tried_again_ever_more_rarely(connection: sqlite3.Connection) -> None:
    clock = Clock()
    cap = cap_of(connection, clock)
    tries = []
    for lsn in range(10, 2_000):
        clock.now += 0.5
        readers = cap.due(lsn, AT_ONCE)
        tries += [clock.now for reader in readers if reader == 0]
        outcomes = {r: Trimmed(rows=9, cut=True) if r else None for r in readers}
        cap.trimmed(outcomes, trim_at(lsn, lsn - 1, None))
        if lsn == 20:
            assert set(cap.due(10**9, 1_000)) <= {0}
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses[0] <= 2
    assert pauses == sorted(pauses)
    assert pauses[-1] == 300


def test_rows_that_slices_wrote_at_the_position_are_not_taken_for_trimmed(connection: sqlite3.Connection) -> None:
    """The last batch was at 30, a heartbeat moved the position to 35, and slices wrote there: a trim is stamped 34."""
    clock = Clock()
    cap = cap_of(connection, clock)
    readers = cap.due(35, AT_ONCE)
    cap.trimmed({r: Trimmed(rows=40, cut=True) for r in readers}, trim_at(35, 30, None, sliced=35))
    clock.now += 1
    assert set(readers) <= set(cap.due(36, 1_000))
    cap.reset()  # a new worker finds them due as well
    assert set(readers) <= set(cap.due(36, 1_000))
    cap.trimmed({r: Trimmed(rows=40, cut=True) for r in readers}, trim_at(36, 30, None, sliced=35))
    assert not set(readers) & set(cap.due(10**9, 1_000))


def test_what_waits_for_a_change_put_aside_stays_due(connection: sqlite3.Connection) -> None:
    clock = Clock()
    cap = cap_of(connection, clock)
    cap.trimmed({0: Trimmed(rows=40, cut=True)}, trim_at(50, 50, 20))
    clock.now += 1
    assert 0 in cap.due(51, 1_000)


@pytest.mark.parametrize("silent", [False, True])
def test_what_a_batch_touches_is_counted_once_whether_or_not_it_is_written(
    connection: sqlite3.Connection, silent: bool
) -> None:
    program = compile_models([FEED.model])
    step = Step(connection, program)
    for end, events in (
        (10, [follows(0, 10), *(says(n, n) for n in range(4))]),
        (20, [says(n, n) for n in range(4, 6)]),
    ):
        connection.execute("BEGIN")
        step.take(transactions(commit(end, *events)), silent={NAME} if silent else ())
        for model in () if silent else program.models:
            assert sum(len(rows) for rows in step.present(model)) == len([e for e in events if e.table.name == "entry"])
        connection.execute("COMMIT")
    assert connection.execute("SELECT reader, n FROM main.copies").fetchall() == [(0, 6)]
    assert step.feeds.caps[NAME].due(21, AT_ONCE) == [0]
