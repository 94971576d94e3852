"""One keyspace for many tests: emptied after each, because 24 tables cost Cassandra more CPU to make and drop than a test."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from projections import READ_MODELS
from projections.cassandra_table import POSITIONS, cassandra_table, create_positions
from projections.feed_tables import feed_tables
from projections.read_model import ReadModel
from tests.integration.read_api.stand import MODELS

if TYPE_CHECKING:
    from cassandra.cluster import Session

Columns = frozenset[tuple[str, ...]]


class LentTables:
    """Tables of MODELS, READ_MODELS and what was made beside them; each borrower finds them empty, no other beside them, and no position."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keyspace: str | None = None
        self._columns = Columns()
        self._writes: dict[str, int] = {}

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The keyspace, for one test."""
        keyspace, self._keyspace = self._keyspace or self._made(), None
        yield keyspace
        if self._restored(keyspace):
            self._keyspace = keyspace
        else:
            self._drop(keyspace)

    def make(self, model: ReadModel, keyspace: str) -> None:
        """Tables of one more read model, in the keyspace that is lent; they stay, and are emptied like the others."""
        self._add(keyspace, [model])

    def _add(self, keyspace: str, models: Iterable[ReadModel], *more: str) -> None:
        made, names = {table for table, *_ in self._columns}, set(more)
        for model in models:
            for table in (cassandra_table(model, keyspace), *feed_tables(model, keyspace)):
                names.add(table.name)
                if table.name not in made:
                    for statement in table.creation():
                        self._session.execute(statement)
        self._columns |= {column for column in self._found(keyspace) if column[0] in names}

    def close(self) -> None:
        """Drop what is there."""
        if self._keyspace is not None:
            self._drop(self._keyspace)

    def _drop(self, keyspace: str) -> None:
        self._session.execute(f"DROP KEYSPACE IF EXISTS {keyspace}", timeout=120)  # seconds

    def _made(self) -> str:
        keyspace = f"test_{secrets.token_hex(6)}"
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        self._session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
        self._session.execute(create_positions(keyspace))
        self._columns, self._writes = Columns(), {}
        self._add(keyspace, (*MODELS, *READ_MODELS), POSITIONS)
        return keyspace

    def _restored(self, keyspace: str) -> bool:
        """Drop what was added and empty what was written to; False when a table of ours has become another one."""
        found = self._found(keyspace)
        ours, there = ({table for table, *_ in columns} for columns in (self._columns, found))
        if {column for column in found if column[0] in ours} != self._columns:
            return False
        for table in there - ours:
            self._session.execute(f'DROP TABLE {keyspace}."{table}"')
        # Rows alone would not do: a tombstone hides what the next test writes with an older timestamp.
        counted = "SELECT table_name, count FROM system_views.local_write_latency WHERE keyspace_name = %s"
        for row in self._session.execute(counted, (keyspace,)):
            if row.table_name in ours and row.count != self._writes.get(row.table_name, 0):
                self._session.execute(f'TRUNCATE {keyspace}."{row.table_name}"')
                self._writes[row.table_name] = row.count
        return True

    def _found(self, keyspace: str) -> Columns:
        columns = "table_name, column_name, kind, clustering_order, type"
        query = f"SELECT {columns} FROM system_schema.columns WHERE keyspace_name = %s"
        return frozenset(tuple(row) for row in self._session.execute(query, (keyspace,)))
