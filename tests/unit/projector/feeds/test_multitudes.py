"""Many edges of a hot author that come or go at once: the work is of the edges, not of edges times entries."""

from __future__ import annotations

import sqlite3

import pytest

from projector.apply.step import Step
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.oracle.feed_views import edge, of_edges
from tests.oracle.history import Event
from tests.oracle.test_counter_examples import commit, transactions
from tests.oracle.test_counter_examples_of_partitions import follows, says
from tests.oracle.values import of

FEED = of_edges(9)
NAME = FEED.model.name
READERS, ENTRIES = range(60), range(20)
EACH = [says(n, n) for n in ENTRIES]


def leaves(who: int) -> Event:
    return Event(edge, "d", before={"reader_id": of(who), "author_id": of(10), "since": of(1)})


@pytest.fixture
def connection() -> sqlite3.Connection:
    return open_replica(None, compile_models([FEED.model]), "log")


def batch(step: Step, connection: sqlite3.Connection, *commits: list[Event], lsn: int) -> int:
    """Apply a transaction each, and work off what is put aside; the keys of the feed that were touched at once."""
    connection.execute("BEGIN")
    found = step.take(
        transactions(*(commit(lsn + 10 + at, *events) for at, events in enumerate(commits))), since=(lsn, lsn)
    )[NAME]
    connection.execute("COMMIT")
    while step.waiting:
        connection.execute("BEGIN")
        step.slice(1_000)
        connection.execute("COMMIT")
    step.feeds.last()
    return found


def test_entries_of_who_becomes_hot_in_the_batch_have_no_copies_to_look_for(connection: sqlite3.Connection) -> None:
    step = Step(connection, compile_models([FEED.model]), most_keys=1)
    assert batch(step, connection, [follows(reader, 10) for reader in READERS], EACH, lsn=0) == 0


def test_what_leaves_who_is_hot_no_longer_had_no_copies(connection: sqlite3.Connection) -> None:
    step = Step(connection, compile_models([FEED.model]), most_keys=1)
    batch(step, connection, [follows(reader, 10) for reader in READERS], EACH, lsn=0)
    assert batch(step, connection, [leaves(reader) for reader in READERS], lsn=100) == 0
    assert step.feeds.hot[NAME].number() == 0


def test_what_leaves_after_that_may_have_copies(connection: sqlite3.Connection) -> None:
    step = Step(connection, compile_models([FEED.model]), most_keys=1)
    batch(step, connection, [follows(reader, 10) for reader in READERS], EACH, lsn=0)
    first, rest = READERS[:-2], READERS[-2:]
    touched = batch(step, connection, [leaves(r) for r in first], [leaves(r) for r in rest], lsn=100)
    assert touched >= len(rest) * len(ENTRIES)


def test_whether_an_author_is_hot_is_looked_up_by_the_author(connection: sqlite3.Connection) -> None:
    """Not by going through all authors whose flip is under way, for each image."""
    program = compile_models([FEED.model])
    Step(connection, program)
    looked = 0
    for statement in program.models[0].touch:
        for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}"):
            if "(flip)" in detail or "(thawed)" in detail:
                looked += 1
                assert "(model=? AND author=?)" in detail, (statement.sql, detail)
    assert looked
