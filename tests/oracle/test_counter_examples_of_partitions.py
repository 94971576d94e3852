"""Caps and inactive readers: for each rule the smallest history that needs it, and what becomes of it without the rule.

A is a worker that does something and dies; B has other batches and goes on. What A has sent arrives late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

import pytest

from projections.fan_out import skipped_table
from projections.read_model import ReadModel
from projector.apply.step import MOST_KEYS, Step
from projector.compile.program import compile_models
from projector.feeds.cap import Trim, trim_at
from projector.replica.schema import Position, open_replica
from tests.oracle import partition_mutants as mutants
from tests.oracle import store
from tests.oracle.feed_views import ACTIVE, START, Feed, edge, entry, of_edges, reader
from tests.oracle.history import Commit, Event
from tests.oracle.test_counter_examples import commit, transactions
from tests.oracle.trims import trims
from tests.oracle.values import NULL, of

Break = Callable[[pytest.MonkeyPatch], None]
Stamped = Callable[[int, int, int | None], Trim]
CAP_1 = of_edges(2, 0.9, cap=1)
SKIPS = of_edges(9, 0.9, active=ACTIVE)


def follows(who: int, author: int) -> Event:
    return Event(edge, "c", after={"reader_id": of(who), "author_id": of(author), "since": of(1)})


def says(number: int, at: int, author: int = 10) -> Event:
    return Event(entry, "c", after={"id": of(number), "author_id": of(author), "at": of(at), "body": of("x")})


def unsaid(number: int) -> Event:
    return Event(entry, "d", before={"id": of(number), "author_id": of(10), "at": of(1), "body": of("x")})


def seen(op: str, at: int | None) -> Event:
    """Reader 0 is seen at an LSN's commit time."""
    when = NULL if at is None else of(START + timedelta(milliseconds=at))
    return Event(reader, op, after={"id": of(0), "seen": when})


class Declared(NamedTuple):
    """Read models, as a world has them."""

    models: tuple[ReadModel, ...]


class Certain(Random):
    """Whatever may happen does."""

    def random(self) -> float:
        return 0.0


class World:
    """What trims see of it, and what readers do."""

    def __init__(self, feed: Feed) -> None:
        self.feed, self.models = feed, Declared((feed.model,))
        self.store = [store.Table(len(feed.model.key), len(feed.model.columns))]
        self.beside = store.Table(1, 1)

    def copies(self) -> list[int]:
        """Ids of the entries that reader 0 has, newest first."""
        rows = [key for key in self.store[0].rows() if key[0] == 0]
        return [key[2] for key in sorted(rows, key=lambda key: (-key[1], key[2]))]

    def marked(self) -> bool:
        return (0,) in self.beside.rows()


class Worker:
    """A worker whose batches are chosen by the test; what it writes arrives at once, except for trims."""

    def __init__(self, world: World, most_keys: int = MOST_KEYS) -> None:
        self._world = world
        program = compile_models([world.feed.model])
        self._model = program.models[0]
        self._connection = open_replica(None, program, "log")
        self._step = Step(self._connection, program, most_keys)
        self._position = Position()

    def batch(self, *commits: Commit, asked: bool = False, first_at: int | None = None) -> Worker:
        """asked: for reader 0. first_at: the LSN whose commit time the first transaction says it has."""
        self._connection.execute("BEGIN")
        before = (self._position.lsn, 0) if self._position.lsn else None
        found = transactions(*commits)
        if first_at is not None:
            found[0] = found[0]._replace(committed_at=found[0].committed_at + 1_000 * (first_at - found[0].lsn))
        if asked:
            self._step.feeds.wake(self._world.feed.model.name, 0, found[-1].committed_at)
        self._step.take(found, since=before)
        self._position = Position(lsn=commits[-1].end, applied_lsn=commits[-1].end)
        return self._written()

    def slices(self) -> Worker:
        while self._step.waiting:
            self._connection.execute("BEGIN")
            self._step.slice(1)
            self._written()
        return self

    def crash(self) -> Worker:
        self._step.reset()
        return self

    def trim(self, made: Stamped = trim_at) -> Callable[[], None]:
        """Decides now; the tombstones arrive when they are called."""
        world: Any = self._world
        sent = trims(world, self._connection, self._step, self._position, Certain(), made=made)

        def arrive() -> None:
            for one in sent:
                one()

        return arrive

    def _written(self) -> Worker:
        lsn, table = self._position.lsn, self._world.store[0]
        self._beside(list(self._step.feeds.first()))
        for rows in self._step.present(self._model):
            for row in rows:
                table.insert(tuple(row), lsn)
        for rows in self._step.absent(self._model):
            for key in rows:
                table.delete(tuple(key), lsn)
        self._beside(list(self._step.feeds.last()))
        self._connection.execute("COMMIT")
        return self

    def _beside(self, writes: list[Any]) -> None:
        for write in writes:
            if write.table == skipped_table(self._world.feed.model.name):
                for row in write.rows:
                    (self._world.beside.delete if write.delete else self._world.beside.insert)(row, self._position.lsn)


TWO = commit(20, follows(0, 10), says(0, 3), says(1, 2))
OTHER = commit(30, says(5, 1, author=12))


def late_trim() -> list[int]:
    """A trims what is below entry 0; B deletes entry 0 before the tombstone arrives."""
    world = World(CAP_1)
    late = Worker(world).batch(TWO).batch(OTHER).trim()
    Worker(world).batch(TWO).batch(OTHER).batch(commit(40, unsaid(0)))
    late()
    return world.copies()[:1]


def late_trim_and_an_older_entry() -> list[int]:
    """The same, and an entry that is older than all comes in the batch that deletes one."""
    world = World(CAP_1)
    late = Worker(world).batch(TWO).batch(OTHER).trim()
    Worker(world).batch(TWO).batch(OTHER).batch(commit(40, unsaid(0), says(2, 1)))
    late()
    return world.copies()[:1]


def trimmed_then_crashed() -> list[int]:
    """A partition is trimmed, its worker dies, and then its newest entry goes."""
    world = World(CAP_1)
    worker = Worker(world).batch(TWO).batch(OTHER)
    worker.trim()()
    worker.crash().batch(commit(40, unsaid(0)))
    return world.copies()[:1]


HOT = commit(30, follows(1, 10))
BEFORE = commit(20, follows(0, 10), follows(0, 11), says(0, 3), says(1, 2, author=11))


def flip_put_aside(made: Stamped) -> list[int]:
    """An author becomes hot; A trims while that is put aside, B works it off with an older stamp than A's position."""
    world = World(CAP_1)
    late = Worker(world, 0).batch(BEFORE).batch(HOT).batch(commit(40, says(5, 1, author=12))).trim(made)
    Worker(world, 0).batch(BEFORE).batch(HOT).slices()
    late()
    return world.copies()[:1]


def flip_in_slices(made: Stamped) -> list[int]:
    """One worker trims at the position at which it goes on with slices."""
    world = World(CAP_1)
    worker = Worker(world, 0).batch(BEFORE).batch(HOT)
    late = worker.trim(made)
    worker.slices()
    late()
    return world.copies()[:1]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A history, what comes of it by the rules, and a broken rule that spoils it."""

    run: Callable[[], Any]
    wanted: Any
    breaks: Break


AWAY = commit(20, seen("c", 15), follows(0, 10))
POSTED = commit(40, says(0, 3))  # at 40 a reader of 15 is away for longer than 10
BACK = commit(50, seen("u", 49))


def deleted_while_away() -> tuple[list[int], bool]:
    world = World(SKIPS)
    Worker(world).batch(AWAY, commit(22, says(1, 2))).batch(POSTED).batch(commit(45, unsaid(1))).batch(BACK)
    return world.copies(), world.marked()


def away_and_back_in_one_batch() -> tuple[list[int], bool]:
    """A saw the reader away, and left out; B never did."""
    world = World(SKIPS)
    Worker(world).batch(AWAY).batch(POSTED)
    assert world.marked()
    Worker(world).batch(AWAY).batch(POSTED, BACK)
    return world.copies(), world.marked()


def back_and_away_in_one_batch() -> tuple[list[int], bool]:
    """A took the mark away when the reader was back; for B the reader was away before the batch and is after it."""
    world = World(SKIPS)
    a, b = Worker(world).batch(AWAY).batch(POSTED), Worker(world).batch(AWAY).batch(POSTED)
    a.batch(BACK)
    assert not world.marked()
    b.batch(BACK, commit(70, says(2, 3)))
    return world.copies(), world.marked()


def asked_for() -> tuple[list[int], bool]:
    world = World(SKIPS)
    Worker(world).batch(AWAY).batch(POSTED).batch(commit(42, says(5, 1, author=12)), asked=True)
    return world.copies(), world.marked()


def _clock_that_only_batches_see(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = mutants.Inactive._passed_over

    def last_only(self: Any) -> tuple[int, int]:
        del self._limits[:-1]
        return passed(self)

    monkeypatch.setattr(mutants.Inactive, "_passed_over", last_only)


def clock_dips() -> tuple[list[int], bool]:
    """Commit times are not in log order. Reader 0, away at 200, is not by the time of 300, and A has a batch of that."""
    world = World(SKIPS)
    first = commit(200, seen("c", 185), follows(0, 10))
    dip, again = commit(300, says(0, 3)), commit(301, says(1, 2))
    a, b = Worker(world).batch(first), Worker(world).batch(first)
    a.batch(dip, first_at=190)
    assert not world.marked()
    b.batch(dip, again, first_at=190)
    return world.copies(), world.marked()


CASES = {
    "a loss is written anew": Case(run=late_trim, wanted=[1], breaks=mutants._not_written_anew),
    "as many as were lost": Case(run=late_trim, wanted=[1], breaks=mutants._one_too_few),
    "also when others came": Case(run=late_trim_and_an_older_entry, wanted=[1], breaks=mutants._only_what_is_missing),
    "counts are durable": Case(run=trimmed_then_crashed, wanted=[1], breaks=mutants._counts_in_memory),
    "deletes are never left out": Case(run=deleted_while_away, wanted=([0], False), breaks=mutants._deletes_left_out),
    "any reader who was too old is woken": Case(
        run=away_and_back_in_one_batch, wanted=([0], False), breaks=mutants._known_ones_only
    ),
    "a mark is told again": Case(run=back_and_away_in_one_batch, wanted=([0], True), breaks=mutants._told_once),
    "who asks is written for": Case(run=asked_for, wanted=([0], False), breaks=mutants._waking_without_rows),
    "every commit's time counts": Case(run=clock_dips, wanted=([0], True), breaks=_clock_that_only_batches_see),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_is_kept_and_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    assert case.run() == case.wanted
    case.breaks(monkeypatch)
    assert case.run() != case.wanted


def test_a_trim_is_stamped_below_what_is_put_aside() -> None:
    assert flip_put_aside(trim_at) == [1]
    assert flip_put_aside(mutants._stamped_above_what_waits) == []


def test_a_trim_is_stamped_below_the_position_of_the_next_slice() -> None:
    assert flip_in_slices(trim_at) == [1]
    assert flip_in_slices(mutants._stamped_as_the_rows) == []


def test_an_entry_that_comes_and_goes_in_one_batch_counts_as_written() -> None:
    """A writes entry 0 and trims what is below it; B, which has counted one copy, takes its coming and going at once."""
    world = World(CAP_1)
    old, new = commit(20, follows(0, 10), says(1, 2)), commit(30, says(0, 3))
    behind = Worker(world).batch(old)
    Worker(world).batch(old).batch(new).trim()()
    behind.batch(new, commit(40, unsaid(0)))
    assert world.copies() == [1]
