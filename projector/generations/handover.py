"""How a worker goes from one generation's table to another while it runs, without a gap and without its replica anew.

    the pointer moves ──▶ is the new table covered up to the replica? ──▶ SwitchedError, between two batches ──▶ another Worker

A replica at position P stands for rows that were written up to P into *its* tables. A worker takes over a table when what
is published of it is at P or beyond: up to there somebody else has written it, and from P on this worker does, silently up
to the published position as ever. A table that is behind the replica can't be taken over: rows touched between would be
missing for ever. Then the worker stays with its table and looks again; whoever builds the other one goes on writing it.

Which tables a replica stands for is noted in it, so that this holds across restarts too.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping

from command_api.process.logging import get_logger
from projections.generations import Registered
from projections.read_model import ReadModel
from projections.shape import shape_of
from projector.cassandra.progress import Position
from projector.generations.errors import RegistryError
from projector.replica.schema import read_position

LOOK_S = 0.5
_LOOK_LATER_S = 5.0  # while Cassandra does not answer
_log = get_logger(__name__)


class SwitchedError(Exception):
    """Some tables are to be taken over now: the worker ends, and another one begins with `tables`, by read model."""

    def __init__(self, tables: Mapping[str, str]) -> None:
        super().__init__(f"taking over {', '.join(tables.values())}")
        self.tables = dict(tables)


def noted(connection: sqlite3.Connection, models: Iterable[ReadModel]) -> dict[str, str]:
    """By read model, the table that a replica stands for: empty for one that it has not known.

    A replica that has noted none at all is from before there were generations.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS main.stands_for (read_model TEXT PRIMARY KEY, name TEXT NOT NULL)")
    found = dict(connection.execute("SELECT read_model, name FROM main.stands_for"))
    return {model.name: found.get(model.name, "") if found else model.name for model in models}


def note(connection: sqlite3.Connection, tables: Mapping[str, str]) -> None:
    """Note the tables that a replica stands for from its position on."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM main.stands_for")
    connection.executemany("INSERT INTO main.stands_for VALUES (?, ?)", tables.items())
    connection.execute("COMMIT")


def behind(
    connection: sqlite3.Connection,
    before: Mapping[str, str],
    after: Mapping[str, str],
    positions: Mapping[str, Position],
) -> dict[str, str]:
    """Of tables that are to take the place of others, those that the replica is past. positions: as published, by table."""
    reached = read_position(connection).lsn
    return {
        name: table
        for name, table in after.items()
        if table != before[name] and reached and (table not in positions or positions[table].lsn < reached)
    }


class Handover:
    """Looks at the pointers while a worker runs. tables: by read model, what it writes.

    read: the registry as of now; positions: those published, by table.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        models: Iterable[ReadModel],
        tables: Mapping[str, str],
        *,
        read: Callable[[], Mapping[str, Registered]],
        positions: Callable[[], Mapping[str, Position]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._fingerprints = {model.name: shape_of(model).fingerprint for model in models}
        self._tables = dict(tables)
        self._read = read
        self._positions = positions
        self._clock = clock
        self._look_at = clock() + LOOK_S
        self._said: set[str] = set()

    def turned(self) -> None:
        """Between two batches; raises SwitchedError when there is something to take over."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_S
        try:
            found = self._read()
            wanted = {
                name: found[name].current.table
                for name, fingerprint in self._fingerprints.items()
                if name in found and found[name].current.fingerprint == fingerprint
            }
            moved = {name: table for name, table in wanted.items() if table != self._tables[name]}
            if not moved:
                self._tell(found)
                return
            waiting = behind(self._connection, self._tables, moved, self._positions())
        except RegistryError as error:
            _log.warning("the pointers to the live generations can't be read now", cause=str(error))
            self._look_at = self._clock() + _LOOK_LATER_S
            return
        ready = {name: table for name, table in moved.items() if name not in waiting}
        if ready:
            raise SwitchedError({**self._tables, **ready})

    def _tell(self, found: Mapping[str, Registered]) -> None:
        """Say once when another declaration's generation is live."""
        for name, table in self._tables.items():
            current = found[name].current if name in found else None
            if current is not None and current.table != table and current.table not in self._said:
                self._said.add(current.table)
                _log.warning(
                    "another declaration's generation is live: this worker keeps the one of its own, for the way back",
                    read_model=name,
                    live=current.table,
                    writes=table,
                )
