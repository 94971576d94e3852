"""A worker's life over the pure core: batches, crashes between any two writes, a second worker, a lost volume.

What the loop around the core promises is modelled here in a page: begin, step, upserts, then deletes, in any order
each; position and replica commit together once all is acknowledged, of one batch or of several; the covered position is
published after that. A mutant is this worker with one of its rules broken (`tests.oracle.mutants`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any

from projector.apply.transaction import Heartbeat, Transaction
from projector.feeds.policy import SideWrite
from projector.replica.schema import Position, read_position, write_position
from tests.oracle.history import Commit, history
from tests.oracle.log import Entry, disturbed
from tests.oracle.postgres import Reference
from tests.oracle.world import UNBROKEN, Models, Replica, Rules, World, Write


class Worker:
    """One worker: its replica, and the batch whose writes are under way."""

    def __init__(self, world: World, rng: Random, rules: Rules) -> None:
        self._world, self._rng, self._rules = world, rng, rules
        self._take(world.models.replica())
        self._known: list[dict[Any, Any]] = [{} for _ in world.store]
        self._known_committed = self._known
        self._pending: list[Write] = []
        self._in_batch = self._ended = False
        self._end = Position()
        self._silent_below = world.published
        self._clock = 1e9
        self._restart()

    def close(self) -> None:
        """The process and its volume are gone."""
        self._world.models.give_back(self._replica)

    def lose_volume(self) -> None:
        """The replica is gone: it is rebuilt silently up to what is published."""
        self.close()
        self._take(self._world.models.replica())
        self._known_committed = [{} for _ in self._world.store]
        self._silent_below = self._world.published
        self._restart()

    def crash(self) -> None:
        """kill -9: pending writes never leave, the replica's open transaction is rolled back."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if not self._rules.durable:
            self._connection.execute("DELETE FROM main.deferred")
        if self._world.models.timed and self._rng.random() < 0.2:
            self._clock += self._rng.choice((-1_000_000, 1_000_000))  # a machine that was set right
        self._restart()

    def advance(self) -> bool:
        """Do one thing: begin a batch, send one write, or commit. False when there is nothing left to do."""
        if self._world.wire and self._rng.random() < 0.3:
            self._world.wire.pop(self._rng.randrange(len(self._world.wire)))()
        if self._world.models.timed:
            self._clock += self._rng.choice((0, 0, 1, 3))
        if self._pending:
            self._world.apply(self._pending.pop())
        elif self._in_batch and not self._ended:
            if self._goes_on():
                return True
            self._ended = True
            self._pending = self._beside(self._step.feeds.last(), self._end.lsn)
        elif self._in_batch:
            self._commit()
        elif self._step.waiting and self._rng.random() < 0.5:
            self._slice()
        else:
            return self._begin() or self._slice() or self._step.deferred.any
        return True

    def _goes_on(self) -> bool:
        """Whether another batch or slice begins before the commit, as when the worker is behind."""
        if not self._rules.grouped or self._rng.random() >= self._rules.grouped:
            return False
        return self._begin() if self._rng.random() < 0.6 else self._slice()

    def drain(self) -> None:
        """Work until everything in the log is applied and acknowledged."""
        while self.advance():
            pass

    def _take(self, replica: Replica) -> None:
        self._replica = replica
        self._connection, self._step = replica
        self._step.deferred.clock = lambda: self._clock

    def _restart(self) -> None:
        position = read_position(self._connection)
        self._position = position
        self._next = position.offset
        self._assembler = self._rules.assembler(position.lsn)
        self._step.reset()
        self._pending, self._in_batch, self._ended = [], False, False
        self._known = [dict(known) for known in self._known_committed]

    def _transactions(self) -> Iterator[Transaction | Heartbeat]:
        while self._next < len(self._world.log):
            entry = self._world.log[self._next]
            found = list(self._assembler.feed([(self._next, entry.value)]))
            self._next += 1
            yield from found

    def _begin(self) -> bool:
        batch: list[Transaction] = []
        last: Transaction | Heartbeat | None = None
        size = self._rng.choice((1, 1, 2, 3, 6))
        for found in self._transactions():
            last = found
            if isinstance(found, Transaction):
                batch.append(found)
            if len(batch) >= size:
                break
        if last is None:
            return False
        applied, reached = batch[-1] if batch else None, self._reached()
        self._end = Position(
            lsn=last.lsn,
            applied_lsn=applied.lsn if applied else reached.applied_lsn,
            offset=last.next_offset,
            committed_at=applied.committed_at if applied else reached.committed_at,
        )
        self._open()
        if applied:
            loud = applied.lsn > self._silent_below
            silent = () if loud else {model.name for model in self._world.models.models}
            since = (reached.lsn, reached.committed_at) if loud and self._position.applied_lsn else None
            for transaction in batch:
                for reader in self._world.asked.get(transaction.lsn, ()):
                    self._step.feeds.wake(self._world.models.models[0].name, reader, transaction.committed_at)
            self._step.take(batch, since=since, silent=silent)
            if loud:
                self._pending = self._writes(self._rules.timestamp_of(self._world.by_lsn[applied.lsn]))
        self._in_batch = True
        if self._rules.early_commit:
            self._store_position()
        return True

    def _slice(self) -> bool:
        """A batch of what is put aside, at the position that the replica has; False when there is nothing."""
        if not self._step.waiting:
            return False
        reached = self._reached()
        self._open()
        loud = reached.lsn > self._silent_below
        self._step.slice(self._rng.choice((1, 1, 2)), () if loud else {m.name for m in self._world.models.models})
        self._end, self._in_batch = reached, True
        if loud:
            self._pending = self._writes(reached.lsn)
        if self._rules.alone:
            self._pending = [self._alone(write) for write in self._pending]
        return True

    def _reached(self) -> Position:
        return self._end if self._in_batch else self._position

    def _open(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")

    def _writes(self, timestamp: int) -> list[Write]:
        """The batch's writes, last one first."""
        upserts, deletes = [], []
        for at, model in enumerate(self._world.models.program.models):
            width = len(model.model.key)
            for rows in self._step.present(model):
                upserts += [self._upsert(at, row, row[:width], timestamp) for row in map(tuple, rows)]
            for rows in self._step.absent(model):
                for key in map(tuple, rows):
                    self._known[at].pop(key, None)
                    deletes.append(Write(at, key, timestamp, True))
        self._rng.shuffle(upserts)
        self._rng.shuffle(deletes)
        first = self._beside(self._step.feeds.first(), timestamp)
        return [*deletes, *upserts, *first] if self._rules.flags_first else [*first, *deletes, *upserts]

    def _beside(self, writes: Iterable[SideWrite], timestamp: int) -> list[Write]:
        found = [Write(write.table, row, timestamp, write.delete) for write in writes for row in write.rows]
        self._rng.shuffle(found)
        return found

    def _upsert(self, at: int, row: tuple[Any, ...], key: tuple[Any, ...], timestamp: int) -> Write:
        if not self._rules.changed_only:
            return Write(at, row, timestamp, False)
        before, others = self._known[at].get(key), row[len(key) :]
        self._known[at][key] = others
        if before is None:
            return Write(at, row, timestamp, False)
        return Write(at, key, timestamp, False, {i: v for i, v in enumerate(others) if v != before[i]})

    def _alone(self, write: Write) -> Write:
        """The cells of a whole row that have a budget, without the rest."""
        if isinstance(write.model, str):
            return write
        model = self._world.models.program.models[write.model].model
        others = [name for name in model.columns if name not in model.key]
        cells = {at: write.row[len(model.key) + at] for at, name in enumerate(others) if name in model.budgets}
        return write if write.delete else write._replace(row=write.row[: len(model.key)], cells=cells)

    def _commit(self) -> None:
        if not self._rules.early_commit:
            self._store_position()
        self._in_batch = self._ended = False
        held = self._step.deferred.progress().values() if self._rules.hold_back else ()
        self._world.published = max(self._world.published, min([self._end.lsn, *(progress.since for progress in held)]))
        if self._position.lsn > self._silent_below:
            self._world.wire += self._rules.trims(self._world, self._connection, self._step, self._position, self._rng)

    def _store_position(self) -> None:
        write_position(self._connection, self._end)
        self._connection.execute("COMMIT")
        self._position = self._end
        self._known_committed = [dict(known) for known in self._known] if self._rules.changed_only else self._known


def run(
    rng: Random,
    models: Models,
    commits: Sequence[Commit],
    log: Sequence[Entry],
    rules: Rules = UNBROKEN,
    look: Callable[[World], None] = lambda world: None,
    asked: dict[int, list[Any]] | None = None,
) -> Iterator[tuple[int, World]]:
    """Let workers loose on a log. Yields (index of the last commit there, the world) whenever all is drained.

    The log becomes visible in up to three parts. Within each, a main worker and now and then a second one do one thing
    at a time, crash, pause, lose their volume; at its end the main worker drains (and so does the second, or it stays
    paused with its writes until later). look: called after everything that anybody does.
    asked: see `World`.
    """
    world = World(models, commits, look=look, asked=asked or {})
    main, second = Worker(world, rng, rules), Worker(world, rng, rules) if rng.random() > 0.5 else None
    cuts = sorted({*(rng.randrange(1, len(log) + 1) for _ in range(rng.randrange(3))), len(log)})
    try:
        for cut in cuts:
            world.log = list(log[:cut])
            second = _scuffle(rng, world, main, second, rules)
            main.drain()
            whole = [entry.commit for entry in world.log if entry.last and entry.commit is not None]
            if whole:
                yield max(whole), world
    finally:
        main.close()
        if second is not None:
            second.close()


def _scuffle(rng: Random, world: World, main: Worker, second: Worker | None, rules: Rules) -> Worker | None:
    for _ in range(rng.randrange(60)):
        roll = rng.random()
        if second is not None and roll < 0.35:
            second.advance()
        elif roll < 0.9:
            main.advance()
        elif roll < 0.95:
            main.crash()
        elif roll < 0.96:
            main.lose_volume()
        elif second is not None and roll < 0.98:
            second.crash()
        elif second is None and roll < 0.98:
            second = Worker(world, rng, rules)
        elif second is not None and roll < 0.99:
            second.close()
            second = None
    if second is not None and rng.random() < 0.5:
        second.drain()
    return second


def difference(
    rng: Random,
    models: Models,
    reference: Reference,
    *,
    most_commits: int = 12,
    rules: Rules = UNBROKEN,
) -> str | None:
    """One random life from history to store; None when every read model equals its SQL at every cut, else what differs."""
    commits = history(rng, models.tables, rng.randrange(1, most_commits))
    if not commits:
        return None
    log = disturbed(rng, commits)
    for at, world in run(rng, models, commits, log, rules):
        wanted, found = reference.rows(commits[at].state, models.models), world.rows()
        for name, rows in wanted.items():
            if found[name] != rows:
                missing = {key: row for key, row in rows.items() if found[name].get(key) != row}
                wrong = {key: row for key, row in found[name].items() if rows.get(key) != row}
                return f"{name} after commit {at} of {len(commits)}: the SQL has {missing}, the table has {wrong}"
    return None
