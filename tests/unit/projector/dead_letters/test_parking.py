"""Rows that are refused, through random lives of two workers: no reader is misled at any moment, and all is settled at the end.

The world is one read model of a few keys. Its log says for each commit which key gets which value, or none, and whether
Cassandra takes that value. The parking is the real one, over a real replica; Cassandra is a table that decides by timestamps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, cast

import pytest
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Column, Integer, MetaData, Table, Text, select

from projections.cassandra_table import write_timestamp
from projections.read_model import ReadModel
from projector.cassandra.errors import RefusedRow
from projector.cassandra.write import Writer
from projector.coverage import Target
from projector.dead_letters import parking as module
from projector.dead_letters.errors import TooManyDeadLettersError
from projector.dead_letters.letters import Letter
from projector.dead_letters.marks import Marks
from projector.dead_letters.parking import Parking
from projector.dead_letters.topic import Topic

v = Table("v", MetaData(), Column("id", Integer, primary_key=True), Column("s", Text))
MODEL = ReadModel(name="m", select=select(v.c.id, v.c.s), partition_key=("id",))
KEYS = 3
TARGET = Target(keyspace="k", projection="p", epoch=1)


class Commit(NamedTuple):
    """A key gets a value, or None; taken: whether Cassandra takes it."""

    lsn: int
    key: int
    value: str | None
    taken: bool


@dataclass
class Cassandra:
    """Rows, marks and numbers, the latest timestamp winning, a delete over a write of the same."""

    rows: dict[int, tuple[int, int, str | None]] = field(default_factory=dict)
    marks: dict[str, tuple[int, int, Letter | None]] = field(default_factory=dict)
    number: tuple[int, int] = (0, 0)
    position: int = 0

    def row(self, key: int) -> str | None:
        return self.rows.get(key, (0, 0, None))[2]

    def put(self, key: int, lsn: int, value: str | None) -> None:
        self.rows[key] = max(self.rows.get(key, (0, 0, None)), (lsn, value is None, value), key=lambda r: r[:2])

    def mark(self, letter: Letter, lsn: int, *, cleared: bool) -> None:
        now = (lsn, cleared, None if cleared else letter)
        self.marks[letter.row] = max(self.marks.get(letter.row, (0, 0, None)), now, key=lambda r: r[:2])

    def marked(self) -> set[int]:
        return {int((x.key or "").strip("[]")) for _, _, x in self.marks.values() if x is not None}


class FakeMarks:
    """`Marks` over that table; each write is a step of its own, before which the world may look or crash."""

    def __init__(self, world: World) -> None:
        self._world = world

    def set(self, letters: Iterable[Letter]) -> None:
        for letter in letters:
            self._world.step()
            self._world.cassandra.mark(letter, letter.lsn, cleared=False)

    def clear(self, letters: Iterable[tuple[Letter, int]]) -> None:
        for letter, lsn in letters:
            self._world.step()
            self._world.cassandra.mark(letter, lsn, cleared=True)

    def number(self, numbers: Mapping[str, int], lsn: int) -> None:
        for number in numbers.values():
            self._world.step()
            self._world.cassandra.number = max(self._world.cassandra.number, (lsn, number))

    def numbers(self, models: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(models, self._world.cassandra.number[1])

    def read(self, models: Iterable[str]) -> list[Letter]:
        return [x for _, _, x in self._world.cassandra.marks.values() if x is not None]


class FakeTopic:
    """`Topic`: what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, int, str]] = []

    def tell(self, refused: Iterable[tuple[Letter, RefusedRow, tuple[str, ...]]]) -> None:
        self.told += [(letter.key, letter.lsn, row.reason) for letter, row, _ in refused]


class CrashError(Exception):
    """kill -9."""


class World:
    """The log, Cassandra, a clock, and readers who look at any moment, some with what they have read a while ago."""

    def __init__(self, rng: Random, log: list[Commit]) -> None:
        self.rng, self.log, self.cassandra, self.clock = rng, log, Cassandra(), 0.0
        self.crashing = self.lenient = False
        self.mends = rng.random() < 0.5
        self._readers: list[tuple[float, int, set[int]]] = []

    def value(self, key: int, lsn: int) -> Commit | None:
        """The last commit of a key up to a position."""
        return next((c for c in reversed(self.log) if c.key == key and c.lsn <= lsn), None)

    def step(self) -> None:
        self.look()
        if self.crashing and self.rng.random() < 0.05:
            raise CrashError
        if self.crashing and self.mends and self.rng.random() < 0.03:
            self.lenient = True  # somebody has raised a limit: from now on Cassandra takes everything
        if self.rng.random() < 0.05:
            self.clock += self.rng.choice((1, 30, 100))

    def look(self) -> None:
        """A reader takes the position with its number, and the marks when there are any; its rows now or a while later."""
        here = self.cassandra
        marked = here.marked() if here.number[1] else set()
        self._readers = [r for r in self._readers if self.clock - r[0] < module.READERS_S / 2][-4:]
        for _, position, seen in [*self._readers, (self.clock, here.position, marked)]:
            for key in range(KEYS):
                if key not in seen:
                    possible = {c.value for c in self.log if c.key == key and c.lsn > position}
                    before = self.value(key, position)
                    possible.add(before.value if before else None)
                    assert here.row(key) in possible, f"key {key} at {position}: {here.row(key)}, not of {possible}"
        if self.rng.random() < 0.2:
            self._readers.append((self.clock, here.position, marked))


class Worker:
    """The worker's loop around a parking: batches, several of them before a commit, crashes."""

    def __init__(self, world: World) -> None:
        self.world, self.topic = world, FakeTopic()
        self.asked: dict[str, list[tuple[int]]] = {}
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("CREATE TABLE position (lsn INTEGER, silent INTEGER)")
        self.connection.execute("INSERT INTO position VALUES (0, 0)")
        gauge = Gauge("g", "g", ("read_model",), registry=CollectorRegistry())
        self.parking = Parking(
            (MODEL,), lambda _: cast("Marks", FakeMarks(world)), cast("Topic", self.topic), most=100, gauge=gauge,
            clock=lambda: world.clock,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        (self.lsn, _) = self.connection.execute("SELECT * FROM position").fetchone()
        self.silent_to = self.world.cassandra.position
        self.parking.begin(self.connection, TARGET)
        self.parking.look()

    def delete(self, model: str, keys: Iterable[tuple[Any, ...]], timestamp: int) -> None:
        for (key,) in keys:
            self.world.step()
            self.world.cassandra.put(key, timestamp & ((1 << 52) - 1), None)

    def drain(self) -> None:
        """As a writer's."""

    def turn(self, most: int) -> bool:
        """Some batches and a commit; False when there is nothing to read."""
        rng, refused = self.world.rng, []
        rest = [c for c in self.world.log if c.lsn > self.lsn]
        if not rest:
            return False
        self.connection.execute("BEGIN")
        for _ in range(rng.randint(1, 3)):
            batch, rest = rest[:most], rest[most:]
            if not batch:
                break
            if self.lsn < self.silent_to < batch[-1].lsn:  # a batch ends where others have published
                parts = [c for c in batch if c.lsn <= self.silent_to]
                batch, rest = (parts or batch), batch[len(parts) if parts else len(batch) :] + rest
            end = batch[-1].lsn
            silent = {"m"} if end <= self.silent_to else set()
            asked = self.parking.asking(end, silent, self.asked).get("m", ())
            if not silent:
                refused += list(self.write({c.key for c in batch} | {k for (k,) in asked}, end))
            self.lsn = end
        for row in refused:
            assert self.parking.refused(row)
        before = {letter.id: letter.lsn for letter in self.parking._letters.values()}
        marked = self.parking.settle(self.lsn, self.lsn)
        after = {letter.id: letter.lsn for letter in self.parking._letters.values()}
        assert (marked > 0) >= (after.keys() > before.keys()), "readers are given time"
        self.world.step()
        self.connection.execute("UPDATE position SET lsn = ?", (self.lsn,))
        self.connection.execute("COMMIT")
        self.world.step()
        self.world.cassandra.position = max(self.world.cassandra.position, self.lsn)
        self.parking.committed(cast("Writer", self))
        return True

    def write(self, keys: set[int], end: int) -> Iterator[RefusedRow]:
        """Whole rows, then deletes; what is refused is known later."""
        found = {key: self.world.value(key, end) for key in keys}
        for key, commit in found.items():
            if commit is not None and commit.value is not None:
                self.world.step()
                if commit.taken or self.world.lenient:
                    self.world.cassandra.put(key, end, commit.value)
                else:
                    yield RefusedRow(
                        table="k.m", name="m", key={"id": key}, row=(key, commit.value), reason="no",
                        timestamp=write_timestamp(1, end),
                    )  # fmt: skip
                self.parking.sent("m", [(key, commit.value)], end)
        for key, commit in found.items():
            if commit is None or commit.value is None:
                self.world.step()
                self.world.cassandra.put(key, end, None)
                self.parking.sent("m", [(key,)], end)


def history(rng: Random) -> list[Commit]:
    log = []
    for n in range(rng.randint(2, 14)):
        gone = rng.random() < 0.2
        log.append(Commit(10 * (n + 1), rng.randrange(KEYS), None if gone else f"v{n}", gone or rng.random() < 0.6))
    return log


def live(seed: int) -> None:
    rng = Random(seed)
    world = World(rng, history(rng))
    full, world.log = world.log, world.log[: rng.randint(1, len(world.log))]
    workers = [Worker(world), Worker(world)][: rng.randint(1, 2)]
    world.crashing = True
    for _ in range(rng.randint(5, 30)):
        at = rng.randrange(len(workers))
        try:
            if rng.random() < 0.06:
                workers[at] = Worker(world)  # its volume is lost
            elif not workers[at].turn(rng.randint(1, 3)) and rng.random() < 0.5:
                world.log = full
        except CrashError:
            workers[at].start()
    world.log, world.crashing = full, False
    main = workers[0]
    main.start()
    while main.turn(2):
        pass
    if world.mends:
        main.asked = {"m": [(key,) for key in range(KEYS)]}  # a retry by hand
    for _ in range(3):  # what was found marked is tried with the next commit; an old row goes a while after that
        world.log = world.log = [*world.log, Commit(world.log[-1].lsn + 10, KEYS, "touches nothing of these", True)]
        world.clock += module.READERS_S + 1
        main.turn(1)
        main.asked = {}
        world.look()
    for key in range(KEYS):
        last = world.value(key, 1 << 51)
        taken = last is not None and (last.taken or world.lenient)
        wanted = last.value if last and taken else None
        assert world.cassandra.row(key) == wanted, f"seed {seed}: key {key}"
        assert (key in world.cassandra.marked()) == (last is not None and not taken), f"seed {seed}: mark of {key}"
    assert world.cassandra.number[1] == len(world.cassandra.marked()), f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 2_000, 250))
def test_marks_tell_the_truth_at_every_moment_and_are_settled(first: int) -> None:
    for seed in range(first, first + 250):
        live(seed)


def test_more_than_allowed_end_the_worker_and_cover_nothing() -> None:
    world = World(Random(1), [Commit(10 * (n + 1), n, "x", False) for n in range(5)])
    worker = Worker(world)
    worker.parking._most = 4
    with pytest.raises(TooManyDeadLettersError, match=r"most_dead_letters is 4.*declaration"):
        worker.turn(5)
    assert world.cassandra.position == 0
    assert not worker.topic.told
