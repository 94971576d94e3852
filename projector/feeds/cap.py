"""The cap of a feed: a partition's newest `cap` copies are kept, and older ones are trimmed when they have become many.

Promised: once a position is covered, the newest `cap` rows that a partition has in Cassandra are the newest `cap` rows
of its select(), and a partition with fewer rows has them all. Rows are written whatever their rank, so there may be
more; how many, is counted for each partition. When more than `cap` + `slack` may have been written since the last trim,
all rows after the `cap`-th of those in Cassandra go, by one range tombstone (`projector.cassandra.trim`).

A trim must not take what is needed again when rows above are lost, by anybody's account of the partition: a second worker's,
a repetition's after a crash, or that of a trim which arrives late. Two rules see to that:

1. It is stamped below the position that the worker has reached, and not above the position before what is put aside.
   A row that was read as one of the newest but is lost later, is lost at a position above the stamp.
2. A batch that takes n rows from a partition writes the last n of its newest `cap` anew, with its own stamp.

To n counts every touched key without a row, a row or not before. Writing all of the newest `cap` anew is not needed: a
trim that came from the partition as it was before took at most as many of today's as have been lost since.

Not promised: that a partition never exceeds `cap` + `slack`. What one batch writes to a partition outlives the trim after it,
and what was written since the oldest change that is put aside waits for that change; the trim after those gets it. A partition
of which that can't be counted, or that can't be read, is looked at again, after pauses that grow.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from projector.cassandra.trim import Trimmed
from projector.compile.expression import identifier
from projector.compile.names import touched_name
from projector.compile.newest import NewestStatement
from projector.compile.program import ModelProgram
from projector.feeds.policy import Policy
from projector.feeds.tables import COPIES, INACTIVE

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0


def slack_of(cap: int) -> int:
    """Copies beyond the cap that a partition may have before it is trimmed."""
    return max(1, cap // 4)


@dataclass(frozen=True, kw_only=True)
class Trim:
    """When a trim was made. reached: the worker's position; applied: that of its last batch. stamp: the trim's own.

    sliced: no slice has written at a later position.
    """

    reached: int
    applied: int
    stamp: int
    sliced: int = 0


def trim_at(reached: int, applied: int, held_back: int | None, sliced: int = 0) -> Trim:
    """The trim that a worker may make. held_back: the position before the oldest change that is put aside."""
    stamp = min(reached - 1, reached if held_back is None else held_back)
    return Trim(reached=reached, applied=applied, stamp=stamp, sliced=sliced)


class Cap(Policy):
    """The cap of one feed over one replica."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        model: ModelProgram,
        newest: NewestStatement,
        cap: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds; of pauses."""
        self.clock = clock
        self.cap = cap
        self.slack = slack_of(cap)
        self._connection = connection
        self._name = model.model.name
        reader = identifier(model.model.partition_key[0])
        keys = ", ".join(identifier(name) for name in model.model.key)
        touched = touched_name(self._name)
        gone = f"temp.{identifier(f'gone of {self._name}')}"
        connection.execute(f"CREATE TABLE IF NOT EXISTS {gone} ({keys}, PRIMARY KEY ({keys})) WITHOUT ROWID")
        self._count = (
            f"INSERT INTO {COPIES} SELECT :model, {reader}, count(*) FROM {touched} WHERE TRUE GROUP BY {reader}"
            " ON CONFLICT (model, reader) DO UPDATE SET n = n + excluded.n"
        )
        self._over = (
            f"SELECT c.reader FROM (SELECT DISTINCT {reader} AS reader FROM {touched}) AS t"
            f" CROSS JOIN {COPIES} AS c ON c.model = :model AND c.reader = t.reader AND c.n > :limit"
        )
        self._written = f"SELECT count(*) FROM {touched} WHERE {reader} = ?"
        self._forget_gone = f"DELETE FROM {gone}"
        self._find_gone = f"INSERT OR IGNORE INTO {gone} {model.recompute.absent}"
        self._lost = (
            f"SELECT g.reader, g.n FROM (SELECT {reader} AS reader, count(*) AS n FROM {gone} GROUP BY {reader}) AS g"
            f" LEFT JOIN {COPIES} AS c ON c.model = :model AND c.reader = g.reader"
            f" WHERE coalesce(c.n, 0) + (SELECT count(*) FROM {touched} AS t WHERE t.{reader} = g.reader) > :cap"
            f" AND NOT EXISTS (SELECT 1 FROM {INACTIVE} AS i WHERE i.model = :model AND i.reader = g.reader)"
        )
        self._restore = f"INSERT OR IGNORE INTO {touched} ({keys}) {newest.sql}"
        self.gone = f"SELECT {keys} FROM {gone}"
        """The touched keys without a row, once `complete` has found them."""
        self._silent = False
        self._due: set[Any] | None = None
        self._tried: dict[Any, int] = {}
        self._put_off: dict[Any, tuple[float, float]] = {}  # until when, and the pause before that

    # -- in a batch ---------------------------------------------------------------------------------------------------

    def complete(self) -> int:
        """Touch what must be written anew; returns how many keys that adds."""
        run = self._connection.execute
        run(self._forget_gone)
        run(self._find_gone)
        if self._silent:
            self.given()
            return 0
        lost = run(self._lost, {"model": self._name, "cap": self.cap}).fetchall()
        return sum(self._touch_last(reader, number) for reader, number in lost)

    def given(self) -> None:
        """Count what the batch has touched, while Cassandra works on it."""
        run = self._connection.execute
        run(self._count, {"model": self._name})
        over = run(self._over, {"model": self._name, "limit": self.cap + self.slack}).fetchall()
        self._known_due().update(reader for (reader,) in over)

    def clear(self, *, silent: bool) -> None:
        """A batch begins."""
        self._silent = silent

    def reset(self) -> None:
        """The batch was rolled back."""
        self._due = None
        self._tried.clear()
        self._put_off.clear()

    def _touch_last(self, reader: Any, lost: int) -> int:
        after = max(0, self.cap - lost)
        given = {"partition": reader, "most": self.cap - after, "after": after}
        return self._connection.execute(self._restore, given).rowcount

    # -- after a commit -----------------------------------------------------------------------------------------------

    def due(self, lsn: int, most: int) -> list[Any]:
        """Readers whose partition may have grown too large, of those that were not looked at since position `lsn`."""
        found: list[Any] = []
        now = self.clock()
        for reader in self._known_due():
            if len(found) == most:
                break
            if self._tried.get(reader, -1) < lsn and self._put_off.get(reader, (now, 0.0))[0] <= now:
                found.append(reader)
        return found

    def trimmed(self, outcomes: Mapping[Any, Trimmed | None], at: Trim) -> None:
        """Take down what a trim came to, inside a transaction of the replica and before the next batch.

        None for a partition that could not be trimmed.
        """
        for reader, outcome in outcomes.items():
            left = self._left(reader, at) if outcome is not None and outcome.cut else 0
            if outcome is None or left is None:
                self._later(reader)
                continue
            rows = max(self.cap + 1, self.cap + left if outcome.cut else outcome.rows)
            self._connection.execute(
                f"UPDATE {COPIES} SET n = ? WHERE model = ? AND reader = ?", (rows, self._name, reader)
            )
            self._put_off.pop(reader, None)
            if rows > self.cap + self.slack:
                self._tried[reader] = at.reached
            else:
                self._tried.pop(reader, None)
                self._known_due().discard(reader)

    def _left(self, reader: Any, at: Trim) -> int | None:
        """How many rows below the cap a trim may have left, because they are as new as its stamp; None when unknown."""
        if at.stamp >= max(at.applied, at.sliced):
            return 0
        if at.stamp == at.reached - 1 and at.sliced < at.reached:
            (written,) = self._connection.execute(self._written, (reader,)).fetchone()
            return int(written)
        return None

    def _later(self, reader: Any) -> None:
        """Leave a reader due, and look again after a pause twice as long as the last one."""
        _, last = self._put_off.get(reader, (0.0, _FIRST_PAUSE_S / 2))
        pause = min(2 * last, _LONGEST_PAUSE_S)
        self._put_off[reader] = self.clock() + pause, pause

    def _known_due(self) -> set[Any]:
        if self._due is None:
            over = f"SELECT reader FROM {COPIES} WHERE model = ? AND n > ?"
            self._due = {r for (r,) in self._connection.execute(over, (self._name, self.cap + self.slack))}
        return self._due
