"""What a simulated life is made of: its rules, compiled read models with replicas to lend, the store and what is published."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, TypeAlias

from projections.feed_tables import feed_tables
from projections.read_model import ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import MOST_KEYS, Step
from projector.compile.program import Program, compile_models
from projector.replica.schema import Position, open_replica, write_position
from tests.oracle.history import Commit
from tests.oracle.log import Entry
from tests.oracle.postgres import Rows
from tests.oracle.store import Table


class Write(NamedTuple):
    """One statement on its way to the store. model: its place among the models, or the name of a table beside them."""

    model: int | str
    row: tuple[Any, ...]
    timestamp: int
    delete: bool
    cells: dict[int, Any] | None = None


Trims: TypeAlias = "Callable[[World, sqlite3.Connection, Step, Position, Random], list[Callable[[], None]]]"
"""What a worker makes of its feeds' caps after a commit: deletes that are on their way."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a worker goes by; the defaults are the design's.

    timestamp_of: a batch's timestamp from the commits of its transactions. early_commit: the replica commits before the
    writes are acknowledged. changed_only: only columns that differ from the last row are written. hold_back: what is put
    aside holds back the published position. durable: what is put aside survives a crash. alone: what had a budget is
    written as single columns. assembler: what makes
    transactions of records, from a position on. grouped: how probable it is that the worker, being behind, takes another
    batch or slice before it commits.
    """

    timestamp_of: Callable[[Commit], int] = lambda commit: commit.end
    early_commit: bool = False
    changed_only: bool = False
    hold_back: bool = True
    flags_first: bool = True  # what readers of a feed must know is written before rows
    trims: Trims = lambda world, connection, step, position, rng: []
    durable: bool = True
    alone: bool = False
    assembler: Callable[[int], Assembler] = Assembler
    grouped: float = 0.0


UNBROKEN = Rules()
"""Those of the engine."""


class Replica(NamedTuple):
    """A worker's volume, and what it steps with: made together, because that takes longer than most runs."""

    connection: sqlite3.Connection
    step: Step


class Models:
    """Compiled read models with a few empty replicas kept ready."""

    def __init__(
        self,
        models: Sequence[ReadModel],
        change: Callable[[Program], Program] = lambda program: program,
        most_keys: int = MOST_KEYS,
    ) -> None:
        """most_keys: what a parent's change may touch at once; the rest is put aside and worked off in slices."""
        self.models = tuple(models)
        self._most_keys = most_keys
        self.program = change(compile_models(models))
        self.timed = any(statement.budget for model in self.program.models for statement in model.touch)
        self._spare: list[Replica] = []
        self.tables = tuple(
            {
                table.name: table
                for m in self.program.models
                for table in m.analysis.source_tables()
                if m.feed is None or table is not m.feed.hot
            }.values()
        )

    def replica(self) -> Replica:
        """An empty replica."""
        if not self._spare:
            connection = open_replica(None, self.program, "log")
            return Replica(connection, Step(connection, self.program, self._most_keys))
        replica = self._spare.pop()
        for table in (*self.program.tables.values(), *(group.group for group in self.program.groups)):
            replica.connection.execute(f'DELETE FROM main."{table.fullname}"')
        for kept in ("main.deferred", *self.program.feed_state()):
            replica.connection.execute(f"DELETE FROM {kept}")
        write_position(replica.connection, Position())
        return replica

    def give_back(self, replica: Replica) -> None:
        """Take a replica back, in whatever state; once more when an error has ended a life in which it was back already."""
        if replica in self._spare:
            return
        if replica.connection.in_transaction:
            replica.connection.execute("ROLLBACK")
        self._spare.append(replica)

    def close(self) -> None:
        """Close what was kept."""
        for replica in self._spare:
            replica.connection.close()


@dataclass
class World:
    """What outlives every worker: the log so far, the store, the published position, and the history behind them."""

    models: Models
    commits: Sequence[Commit]
    log: list[Entry] = field(default_factory=list)
    published: int = 0
    store: list[Table] = field(default_factory=list)
    beside: dict[str, Table] = field(default_factory=dict)
    wire: list[Callable[[], None]] = field(default_factory=list)  # trims that were sent and arrive some time
    asked: dict[int, list[Any]] = field(default_factory=dict)  # readers who are asked for in a transaction, by its end
    look: Callable[[World], None] = lambda world: None

    def __post_init__(self) -> None:
        for model in self.models.models:
            for table in feed_tables(model, "any"):
                self.beside[table.name] = Table(len(table.key), len(table.columns))
        self.store = [Table(len(m.key), len(m.columns)) for m in self.models.models]
        self.by_lsn = {commit.end: commit for commit in self.commits}

    def rows(self) -> dict[str, Rows]:
        """What readers see."""
        return {model.name: table.rows() for model, table in zip(self.models.models, self.store, strict=True)}

    def apply(self, write: Write) -> None:
        """One write arrives."""
        self.look(self)
        table = self.beside[write.model] if isinstance(write.model, str) else self.store[write.model]
        if write.delete:
            table.delete(write.row, write.timestamp)
        elif write.cells is not None:
            table.update(write.row, write.cells, write.timestamp)
        else:
            table.insert(write.row, write.timestamp)
