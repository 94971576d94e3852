"""One batch of transactions: images, touch, recompute; what is to be written comes out, nothing is written here.

Contract: between `begin` and the caller's COMMIT the replica's transaction is open. `take` makes the replica's rows
those after the batch and collects each model's touched keys; `present` and `absent` then say what is true for them
now: whole rows, and keys without a row. All of a batch is written with one timestamp, made of its last commit's end LSN.
A caller that rolls back and takes other batches of the same log gets writes that converge to the same rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from projector.apply.transaction import Transaction
from projector.compile.expression import identifier
from projector.compile.functions import why_failed
from projector.compile.names import touched_name
from projector.compile.program import ModelProgram, Program
from projector.feeds.feeds import Feeds
from projector.replica.backfill import Backfills
from projector.replica.deferred import Deferred, Since
from projector.replica.groups import GroupError, Groups
from projector.replica.images import Images
from projector.replica.numbered import Numbered
from projector.replica.values import MissingColumnError, ReplacedColumnError, ValueFormatError

Row = tuple[Any, ...]
CHUNK = 2_000
FIRST = 250  # rows that don't wait for those after them: Cassandra writes them meanwhile
MOST_KEYS = 20_000
MOST_WOKEN = 2_000  # keys of waking readers in a batch; the others wait for slices


class MaintenanceError(RuntimeError):
    """A value of the batch that the read model's SQL has no answer for; names the read model."""


class Step:
    """Steps over one replica, one at a time."""

    def __init__(self, connection: sqlite3.Connection, program: Program, most_keys: int = MOST_KEYS) -> None:
        """most_keys: a statement that finds more through a parent's change is put aside."""
        self.deferred = Deferred(connection, program)
        self.backfills = Backfills(connection, program)
        self._most_keys = most_keys
        self._connection = connection
        self._program = program
        self._numbered = Numbered(connection, program)
        self._images = Images(connection, program)
        self.feeds = Feeds(connection, program, self._images)
        self._groups = Groups(connection, program.groups)
        self._touched = dict.fromkeys((model.model.name for model in program.models), 0)

    def take(
        self,
        transactions: Iterable[Transaction],
        asked: Mapping[str, Sequence[Row]] | None = None,
        *,
        since: Since | None = None,
        silent: Container[str] = (),
    ) -> dict[str, int]:
        """Apply whole transactions; the number of touched keys by read model. Raises ValueFormatError, MaintenanceError.

        asked: keys by read model that are to be written whether or not something touched them.
        since: the position before the batch, which a read model covers until what the batch puts aside is worked off; None
        puts nothing aside, and neither do the `silent` read models.
        """
        self._clear(silent)
        for transaction in transactions:
            try:
                self._numbered.look(transaction)
                self._images.add(transaction.changes)
            except ValueFormatError as error:
                raise _located(error, transaction) from error
            self.feeds.end(transaction.committed_at, snapshot=transaction.snapshot)
        self._images.flush()
        imaged = self._update_groups(self._images.tables)
        for model in self._program.models:
            later = since if model.model.name not in silent else None
            self._touched[model.model.name] = self._touch(model, imaged, later)
        for model in self._program.models:
            name = model.model.name
            self._add(
                model, (*(asked or {}).get(name, ()), *self.feeds.asked(name), *self.feeds.work(name, MOST_WOKEN))
            )
            if self._touched[name]:
                self.deferred.drop_written(name)
        return dict(self._touched)

    def slice(self, most: int, silent: Container[str] = ()) -> dict[str, int]:
        """Touch the next keys of what is put aside or to be filled: the number by read model. silent: as in `take`."""
        self._clear(silent)
        self._touched |= self.deferred.slice(most)
        for name, number in self.backfills.work(most, silent):
            self._touched[name] += number
        for model in self._program.models:
            self._add(model, tuple(self.feeds.work(model.model.name, most)))
        return dict(self._touched)

    @property
    def waiting(self) -> bool:
        """Whether there is something to slice now."""
        return self.deferred.waiting or self.feeds.waiting or bool(self.backfills.open)

    def reset(self) -> None:
        """Forget everything of a batch that was rolled back, to go on: as a process does that starts over the same replica.

        A worker ends with a rollback; this is for the simulated ones, which lend each other their replicas.
        """
        self._images.reset()
        self._numbered.reread()
        self._groups.reset()
        self.feeds.reset()
        self.deferred.reread()
        self.backfills.reread()
        for name in self._touched:
            self._connection.execute(f"DELETE FROM {touched_name(name)}")
            self._touched[name] = 0

    def present(self, model: ModelProgram) -> Iterator[list[Row]]:
        """Whole rows of the touched keys, key columns first, in chunks; without those that a feed's policy leaves out."""
        for rows in self._chunks(model, model.recompute.present):
            if model.feed is None or (rows := self.feeds.kept(model.model.name, rows)):
                yield rows
        if self._touched[model.model.name]:
            self.feeds.given(model.model.name)

    def absent(self, model: ModelProgram) -> Iterator[list[Row]]:
        """Touched keys without a row, in chunks."""
        cap = self.feeds.caps.get(model.model.name)
        return self._chunks(model, model.recompute.absent if cap is None else cap.gone)

    def _update_groups(self, imaged: frozenset[str]) -> frozenset[str]:
        try:
            return self._groups.update(imaged)
        except GroupError as error:
            raise MaintenanceError(str(error)) from error
        except sqlite3.OperationalError as error:
            raise _explained("with a GROUP BY", error) from error

    def _touch(self, model: ModelProgram, imaged: frozenset[str], since: Since | None) -> int:
        touched, name = 0, model.model.name
        try:
            for statement in model.touch:
                if statement.tables <= imaged:
                    wide = statement.wide if since is not None else None
                    if wide and since is not None and statement.budget is not None:
                        self.deferred.keep(name, wide, since, statement.budget)
                        continue
                    if wide and since is not None and self.deferred.put(name, wide, since, self._most_keys):
                        continue
                    touched += self._connection.execute(statement.sql).rowcount
        except sqlite3.OperationalError as error:
            raise _explained(model.model.name, error) from error
        return touched

    def _add(self, model: ModelProgram, keys: Sequence[Row]) -> None:
        """Touch keys that no image touches, and what a feed's policies make of all that is touched."""
        name = model.model.name
        self._touched[name] += self._ask(model, keys)
        if self._touched[name]:
            self._touched[name] += self.feeds.complete(name)

    def _ask(self, model: ModelProgram, keys: Sequence[Row]) -> int:
        names = ", ".join(identifier(name) for name in model.model.key)
        markers = ", ".join("?" * len(model.model.key))
        sql = f"INSERT OR IGNORE INTO {touched_name(model.model.name)} ({names}) VALUES ({markers})"
        return self._connection.executemany(sql, keys).rowcount if keys else 0

    def _chunks(self, model: ModelProgram, sql: str) -> Iterator[list[Row]]:
        if not self._touched[model.model.name]:
            return
        try:
            cursor, most = self._connection.execute(sql), FIRST
            while rows := cursor.fetchmany(most):
                yield rows
                most = min(2 * most, CHUNK)
        except sqlite3.OperationalError as error:
            raise _explained(model.model.name, error) from error

    def _clear(self, silent: Container[str]) -> None:
        self.feeds.clear(silent)
        self._images.clear()
        self._groups.clear()
        for name, count in self._touched.items():
            if count:
                self._connection.execute(f"DELETE FROM {touched_name(name)}")
                self._touched[name] = 0


def _located(error: ValueFormatError, transaction: Transaction) -> ValueFormatError:
    offset = -1 if error.change is None else transaction.changes.offset_of(error.change)
    if offset < 0:
        return error
    snapshot = (
        "then stop the relay, run `relay snapshot` and start both: this worker goes on from that snapshot, exactly"
    )
    if isinstance(error, MissingColumnError):
        remedy = (
            "In Postgres the column was dropped or renamed, or added after this record was made. Undo that, or declare the read"
            f" models as the table is now; {snapshot}"
        )
    elif isinstance(error, ReplacedColumnError):
        remedy = (
            "In Postgres it was dropped and added again, or columns have changed their names, which gives rows other values without"
            f" a record of them. Whether or not you undo that, {snapshot.removeprefix('then ')}"
        )
    else:
        remedy = (
            "Where a foreign writer made the record, remove that writer; where Postgres did, correct or delete the row there,"
            " so that a later record says what is true. Then pass over this one with: projector skip --offset"
            f" {offset}. Where the column's type was changed, undo that or declare it, {snapshot}"
        )
    located = type(error)(f"log offset {offset}: {error}; nothing of its transaction is applied. {remedy}")
    located.offset = offset
    return located


def _explained(model: str, error: sqlite3.OperationalError) -> Exception:
    cause = why_failed()
    if "user-defined function" in str(error) and cause is not None:
        why, remedy = str(cause), cause.remedy
    elif "integer overflow" in str(error):  # SQLite's own abs()
        why, remedy = (
            "the smallest 64-bit integer has no positive one",
            "Postgres fails on a bigint too: correct the row",
        )
    else:
        return error
    return MaintenanceError(f"read model {model}: a row of this batch makes its SQL fail: {why}. {remedy}")
