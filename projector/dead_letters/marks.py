"""The marks of dead letters in Cassandra, and their number beside the position: what readers see of them.

Promised: what a call wrote is acknowledged when it returns. Every write carries the timestamp of an LSN, like rows do, so marks
that several workers set and clear converge. They are few and rare, so each is a statement of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from cassandra import DriverException, InvalidRequest, RequestExecutionException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.protocol import ErrorMessage

from projections.cassandra_table import POSITIONS, write_timestamp
from projections.dead_letters import COLUMN, DEAD_LETTERS, select_marks
from projector.cassandra.errors import CassandraUnreachableError, MissingTableError
from projector.cassandra.patience import patiently
from projector.coverage import Target
from projector.dead_letters.letters import Letter

T = TypeVar("T")
_SHARD = 0


class Marks:
    """The marks of one projection. stop: ends the wait for a Cassandra that is away, with WriterStoppedError."""

    def __init__(self, session: Session, target: Target, stop: threading.Event) -> None:
        self._session = session
        self._target = target
        self._stop = stop
        self._prepared: dict[str, Any] = {}
        marks = f'"{target.keyspace}"."{DEAD_LETTERS}"'
        self._set = (
            f'INSERT INTO {marks} (projection, read_model, "partition", "row", key, reason, lsn, since)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
        )
        self._clear = (
            f"DELETE FROM {marks} USING TIMESTAMP ?"
            ' WHERE projection = ? AND read_model = ? AND "partition" = ? AND "row" = ?'
        )
        self._number = (
            f'INSERT INTO "{target.keyspace}"."{POSITIONS}" (projection, read_model, shard, {COLUMN})'
            " VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
        )
        self._select = select_marks(target.keyspace)
        self._select_number = (
            f'SELECT {COLUMN} FROM "{target.keyspace}"."{POSITIONS}"'
            " WHERE projection = ? AND read_model = ? AND shard = ?"
        )

    def set(self, letters: Iterable[Letter]) -> None:
        """Mark the rows of letters, each at its LSN. Raises MissingTableError, WriterStoppedError."""
        self._run(
            self._set,
            [
                (*self._place(letter), letter.key, letter.reason, letter.lsn, letter.since, self._at(letter.lsn))
                for letter in letters
            ],
        )

    def clear(self, letters: Iterable[tuple[Letter, int]]) -> None:
        """Take the marks of letters away, each at the LSN that settled it."""
        self._run(self._clear, [(self._at(lsn), *self._place(letter)) for letter, lsn in letters])

    def number(self, numbers: Mapping[str, int], lsn: int) -> None:
        """Say how many marks read models have as of a position."""
        target = self._target
        rows = [(target.projection, target.table(name), _SHARD, n, self._at(lsn)) for name, n in numbers.items()]
        self._run(self._number, rows)

    def read(self, models: Iterable[str]) -> list[Letter]:
        """The letters that are marked, of these read models; what they were before is taken for standing."""
        found = []
        for name in models:
            for row in self._run(self._select, [(self._target.projection, self._target.table(name))])[0]:
                partition, digest, key, reason, lsn, since = row
                found.append(
                    Letter(
                        model=name, row=digest, partition=partition, key=key, reason=reason or "", lsn=lsn, since=since or 0
                    )
                )  # fmt: skip
        return found

    def numbers(self, models: Iterable[str]) -> dict[str, int]:
        """How many marks read models have, as was last said."""
        target = self._target
        found = {}
        for name in models:
            rows = self._run(self._select_number, [(target.projection, target.table(name), _SHARD)])[0]
            found[name] = next((number or 0 for (number,) in rows), 0)
        return found

    def _place(self, letter: Letter) -> tuple[str, str, str, str]:
        return self._target.projection, self._target.table(letter.model), letter.partition, letter.row

    def _at(self, lsn: int) -> int:
        return write_timestamp(self._target.epoch, lsn)

    def _run(self, cql: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        return patiently(partial(self._tried, cql, rows), self._stop) if rows else []

    def _tried(self, cql: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        def work() -> list[Any]:
            if cql not in self._prepared:
                self._prepared[cql] = self._session.prepare(cql)
            answers = [self._session.execute_async(self._prepared[cql], row) for row in rows]
            return [answer.result() for answer in answers]

        return _translated(work)


def _translated(work: Callable[[], T]) -> T:
    try:
        return work()
    except InvalidRequest as error:
        raise MissingTableError(
            f"the marks of dead letters can't be read or written ({error}): run `projector setup`"
        ) from error
    except (NoHostAvailable, RequestExecutionException, DriverException, ErrorMessage) as error:
        raise CassandraUnreachableError(f"the marks of dead letters can't be read or written: {error}") from error
