"""What a worker does with rows that Cassandra refuses: instead of stopping, it parks them. Around its commit:

    rows acknowledged, or refused
    the topic has a record of each refused one                      (acks=all)
    its mark, and the number of marks, are in Cassandra              (at the batch's LSN)
    COMMIT in the replica: the letter, with the position
    the position is published
    READERS_S later: the row that stood there before is deleted      (at the batch's LSN)

So whoever reads a position that covers the change also finds the number, and the mark before the rows, and is answered by
Postgres. The old row is deleted, since it is not true at any later position and not all who read the table look at marks; but
only when no reader can be left who began before the mark was there: to that one the old row is right, and none would be wrong.

A letter goes when a later batch writes its key or finds it gone. Such a batch comes with the key's next change; when a repair
of it is asked for (`projector dead-letters retry`); and once by itself for letters that were found in Cassandra alone (a lost
volume, a crash before COMMIT, another worker) or whose row may have been written meanwhile. A read model that is
caught up silently is not written and keeps its letters. Whatever is repeated converges: a mark too many costs its readers a
look into Postgres until the next try, a mark too few would be a lie and does not happen.

Promised: with more than `most` letters the worker ends before it covers them: then it is the schema that is wrong.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from prometheus_client import Gauge

from command_api.process.logging import get_logger
from projections.cassandra_table import cassandra_table, write_timestamp
from projections.read_model import ReadModel
from projector.apply.requests import Key, decoded
from projector.cassandra.errors import RefusedRow
from projector.cassandra.write import Writer
from projector.coverage import Target
from projector.dead_letters.debt import Debt
from projector.dead_letters.errors import TooManyDeadLettersError
from projector.dead_letters.letters import Id, Letter, Letters, settle
from projector.dead_letters.marks import Marks
from projector.dead_letters.topic import Topic

READERS_S = 60.0
"""Longer than a read takes: the request's time-out with a retry of its client's, and then some."""
_LSN = (1 << 52) - 1
_ONCE_MORE = -1

_log = get_logger(__name__)


class NoParking:
    """A worker's parking that parks nothing: a refused row ends the worker."""

    def begin(self, connection: sqlite3.Connection, target: Target) -> None:
        """A worker begins with this replica and these tables."""

    def look(self) -> None:
        """Take over what is marked in Cassandra, once it is known up to where others have written."""

    def asking(
        self, lsn: int, silent: Container[str], asked: Mapping[str, Sequence[Key]]
    ) -> Mapping[str, Sequence[Key]]:
        """The keys that a batch at `lsn` is to write whether or not it touches them, beside those that are asked for."""
        return asked

    def sent(self, model: str, rows: Sequence[Sequence[Any]], lsn: int) -> None:
        """Rows, or keys of rows that are gone, were sent in the batch at `lsn`."""

    def settle(self, lsn: int, committed_at: int) -> int:
        """All is acknowledged or refused, and the replica's transaction open, which is about to commit this position.

        How many rows are marked that were not.
        """
        return 0

    def committed(self, writer: Writer) -> None:
        """The position is published."""

    def rolled_back(self) -> None:
        """The replica is back at its last commit."""


class Parking(NoParking):
    """The parking of one worker at a time. most: letters. gauge: their number by read model. clock: monotonic seconds."""

    def __init__(
        self,
        models: Iterable[ReadModel],
        marks: Callable[[Target], Marks],
        topic: Topic,
        *,
        most: int,
        gauge: Gauge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = {model.name: model for model in models}
        self._makers = {name: Letters(model) for name, model in self._models.items()}
        self._columns = {n: tuple(cassandra_table(m, "any").columns) for n, m in self._models.items()}
        self._marks_of = marks
        self._topic = topic
        self._most = most
        self._gauge = gauge
        self._clock = clock
        self._debt: Debt | None = None
        self._numbers: Counter[str] = Counter()
        self._told: dict[str, int] = {}
        self._silent: Container[str] = ()
        self._standing_since: dict[Id, float] = {}
        self._reached = 0
        self._forget()

    def refused(self, row: RefusedRow) -> bool:
        """A writer's `on_refused`: rows of read models are parked. Raises TooManyDeadLettersError."""
        if row.name not in self._models:
            return False
        self._refused.append(row)
        if len(self._refused) > self._most:  # they are held in memory until the commit
            raise self._too_many(len(self._refused))
        return True

    def begin(self, connection: sqlite3.Connection, target: Target) -> None:
        """See NoParking."""
        self._forget()
        self._debt = Debt(connection)
        self._epoch = target.epoch
        self._marks = self._marks_of(target)
        self._standing_since = {}
        self._show()

    def look(self) -> None:
        """See NoParking."""
        known = self._letters
        self._told = self._marks.numbers(self._models)
        marked = {letter.id: letter for letter in self._marks.read(self._models)}
        found = [
            replace(letter, again=letter.key is not None)
            for at, letter in marked.items()
            if at not in known or known[at].lsn < letter.lsn
        ]
        # One without a mark was settled by somebody who was further, or it is to be marked again.
        found += [replace(letter, again=True) for at, letter in known.items() if at not in marked and not letter.again]
        for letter in found:
            known[letter.id] = letter
        self._taken_over += found
        if found:
            _log.info("dead letters are taken over from their marks", rows=len(found))
        self._show()

    def asking(
        self, lsn: int, silent: Container[str], asked: Mapping[str, Sequence[Key]]
    ) -> Mapping[str, Sequence[Key]]:
        """See NoParking."""
        self._silent = silent
        # What is passed over silently may have written the row: only another try will tell.
        passed = [replace(x, again=True) for x in self._letters.values() if x.model in silent and not x.again]
        self._letters.update((letter.id, letter) for letter in passed)
        self._taken_over += passed
        due = [x for x in self._letters.values() if x.again and x.lsn < lsn and x.model not in silent and x.key]
        if not due:
            return asked
        keys = {name: list(of) for name, of in asked.items()}
        for letter in due:
            keys.setdefault(letter.model, []).extend(self._key(letter))
        return keys

    def sent(self, model: str, rows: Sequence[Sequence[Any]], lsn: int) -> None:
        """See NoParking."""
        self._reached = max(self._reached, lsn)
        if not self._numbers[model] and not self._refused:
            return
        row_of, width = self._makers[model].row_of, len(self._models[model].key)
        suspects = {self._makers[model].row_of(tuple(r.key.values())) for r in self._refused if r.name == model}
        for row in rows:
            at = (model, row_of(tuple(row[:width])))
            if at in self._letters or at[1] in suspects:
                self._written[at] = max(lsn, self._written.get(at, 0))

    def settle(self, lsn: int, committed_at: int) -> int:
        """See NoParking. Raises TooManyDeadLettersError, DeadLetterError, MissingTableError, WriterStoppedError."""
        if not (self._refused or self._taken_over or self._letters or any(self._told.values())):
            return 0
        assert self._debt is not None
        made = [(self._makers[r.name].of(r, r.timestamp & _LSN, committed_at), r) for r in self._refused]
        outcome = settle(self._letters, (letter for letter, _ in made), self._written, self._reached)
        kept = {letter.id: letter for letter in (*self._taken_over, *outcome.kept)}
        for letter, _ in outcome.cleared:
            kept.pop(letter.id, None)
        left = (self._letters.keys() | kept.keys()) - {letter.id for letter, _ in outcome.cleared}
        if len(left) > self._most:
            raise self._too_many(len(left))
        told = [
            (kept[letter.id], row, self._columns[letter.model])
            for letter, row in made
            if letter.id in kept and kept[letter.id].lsn == letter.lsn
        ]
        if told:
            self._topic.tell(told)
        self._marks.set(kept.values())
        self._marks.clear(outcome.cleared)
        self._debt.drop(letter for letter, _ in outcome.cleared)
        self._debt.keep(kept.values())
        for letter, row, _ in told:
            # Another worker may have written the row meanwhile and cleared the mark: readers begin anew with this one.
            self._standing_since.pop(letter.id, None)
            _log.warning("cassandra refuses a row: it is a dead letter", row=str(row), lsn=letter.lsn)
        for letter, _ in outcome.cleared:
            self._standing_since.pop(letter.id, None)
            _log.info("a dead letter is settled", read_model=letter.model, key=letter.key)
        self._tell_numbers(lsn)
        self._forget()
        self._show()
        return len(told)

    def committed(self, writer: Writer) -> None:
        """See NoParking."""
        if not self._letters:
            return
        now = self._clock()
        standing = [letter for letter in self._letters.values() if letter.standing and letter.key]
        due = [x for x in standing if now >= self._standing_since.setdefault(x.id, now) + READERS_S]
        if not due:
            return
        for letter in due:
            writer.delete(letter.model, self._key(letter), write_timestamp(self._epoch, letter.lsn))
        writer.drain()
        assert self._debt is not None
        self._debt.keep([replace(letter, standing=False) for letter in due])

    def rolled_back(self) -> None:
        """See NoParking."""
        self._forget()
        if self._debt is not None:
            self._debt.reread()

    def _key(self, letter: Letter) -> list[Key]:
        return decoded(self._models[letter.model], [msgspec.json.decode(letter.key or "")])

    @property
    def _letters(self) -> dict[Id, Letter]:
        assert self._debt is not None, "begin() comes first"
        return self._debt.letters

    def _forget(self) -> None:
        """What was collected for a commit."""
        self._refused: list[RefusedRow] = []
        self._written: dict[Id, int] = {}
        self._taken_over: list[Letter] = []
        self._reached = 0

    def _tell_numbers(self, lsn: int) -> None:
        """Each time as long as there are any: a position that was taken back takes its number along."""
        assert self._debt is not None
        counted = self._debt.numbers()
        numbers = {name: counted[name] for name in self._models}
        self._marks.number({name: n for name, n in numbers.items() if n or self._told.get(name)}, lsn)
        self._told = {name: n or self._unheard(name) for name, n in numbers.items()}

    def _unheard(self, name: str) -> int:
        """What stays to be corrected once none was said: 0 when that is done, else any number.

        Said below the position of somebody who is further it is not heard, and at an LSN at which some were said neither.
        """
        before = self._told.get(name, 0)
        return before if name in self._silent else _ONCE_MORE if before > 0 else 0

    def _show(self) -> None:
        assert self._debt is not None
        self._numbers = self._debt.numbers()
        for name in self._models:
            self._gauge.labels(name).set(self._numbers[name])

    def _too_many(self, number: int) -> TooManyDeadLettersError:
        named = "; ".join(str(row) for row in self._refused[:3]) or "see `projector dead-letters list`"
        return TooManyDeadLettersError(
            f"Cassandra refuses {number} rows or more, and projector.most_dead_letters is {self._most}: so many are no accident"
            f" of their values. {named}. Compare the table with the read model's declaration and Cassandra's limits with its"
            " rows; change those, or raise the setting, and start the worker again: it goes on from its last commit"
        )
