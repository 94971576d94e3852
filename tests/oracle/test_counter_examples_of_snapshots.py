"""A worker that begins with a later whole snapshot is of one mind with another that has the whole log."""

from __future__ import annotations

from typing import Any

from projector.apply.anew import Anew
from projector.apply.step import Step
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.oracle import store
from tests.oracle.feed_views import edge, entry, of_edges
from tests.oracle.history import Commit, Event
from tests.oracle.test_counter_examples import commit, transactions
from tests.oracle.test_counter_examples_of_partitions import Position, World, follows, says
from tests.oracle.test_counter_examples_of_partitions import Worker as Batches
from tests.oracle.values import of

FOUR_EDGES = of_edges(4, 0.5)
THREE_READERS = range(3)


def edge_of(who: int) -> dict[str, Any]:
    return {"reader_id": of(who), "author_id": of(10), "since": of(1)}


def entry_of(number: int, at: int) -> dict[str, Any]:
    return {"id": of(number), "author_id": of(10), "at": of(at), "body": of("x")}


HOT = commit(20, *(follows(who, 10) for who in range(4)), says(0, 1))
LESS = commit(30, Event(edge, "d", before=edge_of(3)))  # three of four: hot still, of who was hot before
SNAPSHOT = Commit(
    "snapshot",
    (*(Event(edge, "r", after=edge_of(who)) for who in THREE_READERS), Event(entry, "r", after=entry_of(0, 1))),
    {},
    40,
    40,
    (40,) * 4,
)
POSTED = commit(50, says(1, 2))
UNSAID = commit(60, Event(entry, "d", before=entry_of(1, 2)))


class Worker:
    """A batch a commit, over a replica of its own and a store that all share."""

    def __init__(self, copies: store.Table, hot: store.Table) -> None:
        program = compile_models([FOUR_EDGES.model])
        (self._model,) = program.models
        self._connection = open_replica(None, program, "log")
        self._step = Step(self._connection, program)
        self._copies, self._hot = copies, hot
        self._at = 0

    def take(self, one: Commit, *, silent: bool = False) -> Worker:
        name, lsn = self._model.model.name, one.end
        self._connection.execute("BEGIN")
        since = (self._at, 0) if self._at else None
        self._step.take(transactions(one), since=since, silent=(name,) if silent else ())
        self._beside(lsn, self._step.feeds.first())
        if not silent:
            for rows in self._step.present(self._model):
                for row in rows:
                    self._copies.insert(tuple(row), lsn)
            for rows in self._step.absent(self._model):
                for key in rows:
                    self._copies.delete(tuple(key), lsn)
        self._beside(lsn, self._step.feeds.last())
        self._connection.execute("COMMIT")
        self._at = lsn
        return self

    def _beside(self, lsn: int, writes: list[Any]) -> None:
        for write in writes:
            for row in write.rows:
                (self._hot.delete if write.delete else self._hot.insert)(row, lsn)


def test_who_begins_with_a_snapshot_knows_the_same_hot_authors() -> None:
    key, columns = len(FOUR_EDGES.model.key), len(FOUR_EDGES.model.columns)
    copies, hot = store.Table(key, columns), store.Table(2, 2)
    first = Worker(copies, hot).take(HOT).take(LESS)
    assert hot.rows().keys() == {(0, 10)}
    first.take(SNAPSHOT)
    assert not hot.rows()
    second = Worker(copies, hot).take(SNAPSHOT, silent=True)
    first.take(POSTED)
    second.take(POSTED)
    first.take(UNSAID)
    second.take(UNSAID, silent=True)  # it was away, and 60 is published
    assert copies.rows().keys() == {(who, 1, 0) for who in THREE_READERS}


class Restarted(Batches):
    """One whose rows arrive though its replica's COMMIT does not, and that goes on from a later snapshot."""

    def lose(self, one: Commit) -> None:
        """Write a batch, then roll it back."""
        self._connection.execute("BEGIN")
        self._step.take(transactions(one), since=(self._position.lsn, 0))
        for rows in self._step.present(self._model):
            for row in rows:
                self._world.store[0].insert(tuple(row), one.end)
        self._connection.execute("ROLLBACK")
        self._step.reset()

    def go_on(self, snapshot: Commit) -> None:
        self._connection.execute("BEGIN")
        found = Anew(0, self._step._program).items(transactions(snapshot), lambda lsn: None)
        self._step.take([each._replace(snapshot=True) for each in found], since=(self._position.lsn, 0))  # type: ignore[union-attr]
        self._position = Position(lsn=snapshot.end, applied_lsn=snapshot.end)
        self._written()


def test_a_snapshot_stands_for_what_nobody_saw() -> None:
    """An author is hot no longer in a batch that is lost; entry 0 goes; the snapshot says of both what is left."""
    world = World(of_edges(2, 0.9))
    worker = Restarted(world)
    worker.batch(commit(20, follows(0, 10), follows(1, 10), says(0, 3), says(1, 2)))
    assert world.copies() == []
    worker.lose(commit(30, Event(edge, "d", before=edge_of(1))))
    assert world.copies() == [0, 1]
    rest = (Event(edge, "r", after=edge_of(0)), Event(entry, "r", after=entry_of(1, 2)))
    worker.go_on(commit(50, *rest, xid="snapshot", start=50))
    assert world.copies() == [1]
