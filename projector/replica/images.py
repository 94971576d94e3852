"""A batch of changes becomes images (the row before and after each event) and the replica's new rows.

Contract: after `flush`, ``images of T`` holds at least every state that a row of T had before, within and after the
batch, and the replica holds the state after it. Each image has a weight: -1 for a row that was there before, 1 for one
that is there after, 0 for what was in between; so the weights of a row's equal images sum to what the batch changed,
also when a batch of any size is taken in parts of bounded memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import NamedTuple

from command_api.envelope import Record
from projector.compile.expression import identifier
from projector.compile.names import images_name, replica_name
from projector.compile.program import Program, ReplicaTable
from projector.replica.bulk import Bulk
from projector.replica.values import UNCHANGED, Row, RowDecoder, ValueFormatError

PART = 20_000  # changes of a table held in memory before they go to SQLite


class Images:
    """The images of one batch at a time, over a replica's connection."""

    def __init__(self, connection: sqlite3.Connection, program: Program) -> None:
        self._tables = {name: _TableImages(connection, table) for name, table in program.tables.items()}
        self._by_place: dict[str, dict[str, _TableImages]] = {}
        for name, images in self._tables.items():
            schema, _, table_name = name.partition(".")
            self._by_place.setdefault(table_name, {})[schema] = images

    @property
    def tables(self) -> frozenset[str]:
        """Full names of the tables that have images."""
        return frozenset(images.table.fullname for images in self._tables.values() if images.any)

    def watch(
        self, fullname: str, changed: Callable[[Row | None, Row | None], None], emptied: Callable[[], None]
    ) -> None:
        """Tell of each change of a table, in log order: the row before and after it; or that the table was truncated."""
        self._of(fullname).watcher = (changed, emptied)

    def writing(self, fullname: str) -> Callable[[Row, Row | None], None]:
        """What changes rows of a table that the worker keeps itself: called with a key, and its row or None."""
        images = self._of(fullname)

        def write(key: Row, row: Row | None) -> None:
            images.only_inserts = False
            images.set(key, row)

        return write

    def _of(self, fullname: str) -> _TableImages:
        (images,) = (images for images in self._tables.values() if images.table.fullname == fullname)
        return images

    def clear(self) -> None:
        """Forget the last batch."""
        for images in self._tables.values():
            images.clear()

    def reset(self) -> None:
        """Forget whatever the temporary tables hold, after a rollback."""
        for images in self._tables.values():
            images.any = True
        self.clear()

    def add(self, changes: Iterable[Record]) -> None:
        """Take changes in log order; those of tables that nobody reads pass by. Raises ValueFormatError with its change."""
        by_place = self._by_place
        change = None
        try:
            for change in changes:
                source = change.source
                if source is not None and source.table in by_place:
                    images = by_place[source.table].get(source.schema)
                    if images is not None:
                        images.add(change)
        except ValueFormatError as error:
            error.change = change
            raise

    def flush(self) -> None:
        """Bring the images and the replica up to the last change."""
        for images in self._tables.values():
            images.flush()


class _Keep(NamedTuple):
    """What adds images: rows before the batch (by their keys), after it, and in between."""

    old: Bulk
    new: Bulk
    between: Bulk


class _TableImages:
    def __init__(self, connection: sqlite3.Connection, table: ReplicaTable) -> None:
        self.table = table
        self.any = False
        self.watcher: tuple[Callable[[Row | None, Row | None], None], Callable[[], None]] | None = None
        self._connection = connection
        self._decoder = RowDecoder(table)
        self._width = len(table.key)
        self._final: dict[Row, Row | None] = {}
        self.only_inserts = True
        self._deleted: tuple[Row, Row | None] | None = None  # of the change before this one: its key and row
        self._between: list[Row] = []
        width = len(table.columns)
        names = ", ".join(identifier(name) for name in table.columns)
        by_key = " AND ".join(f"{identifier(name)} = ?" for name in table.key)
        found = " AND ".join(f"t.{identifier(name)} = k.column{i}" for i, name in enumerate(table.key, 1))
        replica, images = replica_name(table.fullname), images_name(table.fullname)
        self._read = f"SELECT {names} FROM {replica} WHERE {by_key}"
        major = ", 0" if table.minor else ""
        self._keep_all = f"INSERT INTO {images} SELECT {names}, -1{major} FROM {replica}"
        self._truncate = f"DELETE FROM {replica}"
        self._clear = f"DELETE FROM {images}"
        old = ", ".join(f"t.{identifier(name)}" for name in table.columns)
        joined = f"FROM (VALUES {{rows}}) AS k CROSS JOIN {replica} AS t ON {found}"
        self._keeps: dict[bool, _Keep] = {}  # by whether only minor columns have changed
        for minor, mark in {False: (0,), True: (1,)}.items() if table.minor else ((False, ()),):
            weighted = ", ".join(map(str, (-1, *mark)))
            self._keeps[minor] = _Keep(
                old=Bulk(connection, f"INSERT INTO {images} SELECT {old}, {weighted} {joined}", self._width),
                new=Bulk(connection, f"INSERT INTO {images} VALUES {{rows}}", width, (1, *mark)),
                between=Bulk(connection, f"INSERT INTO {images} VALUES {{rows}}", width, (0, *mark)),
            )
        self._minor_at = frozenset(at for at, name in enumerate(table.columns) if name in table.minor)
        self._major: set[Row] = set()
        self._put = Bulk(connection, f"INSERT OR REPLACE INTO {replica} VALUES {{rows}}", width)
        self._there = Bulk(connection, f"SELECT 1 {joined} LIMIT 1", self._width)
        # OR FAIL: a statement that may be backed out has every page copied that it changes
        self._insert = Bulk(connection, f"INSERT OR FAIL INTO {replica} VALUES {{rows}}", width)
        self._delete = f"DELETE FROM {replica} WHERE {by_key}"  # a list of composite keys would scan the table

    def clear(self) -> None:
        self._final.clear()
        self._between.clear()
        self._major.clear()
        if self.any:
            self._connection.execute(self._clear)
            self.any = False

    def add(self, change: Record) -> None:
        op, deleted = change.op, self._deleted
        self._deleted = None
        if op in ("c", "r"):
            if deleted is None:
                row = self._decoder.row(change.after)
            else:  # perhaps a changed primary key: what it leaves out is the deleted row's
                row = self._filled(self._decoder.updated(change.after), *deleted)
            self.set(row[: self._width], row)
        elif op == "u":
            self.only_inserts = False
            self._update(change)
        elif op == "d":
            self.only_inserts = False
            key = self._decoder.key(change.before)
            self._deleted = (key, self._current(key))
            self.set(key, None)
        else:
            self.flush()
            self._connection.execute(self._keep_all)
            self._connection.execute(self._truncate)
            self.any = True
            if self.watcher is not None:
                self.watcher[1]()

    def flush(self) -> None:
        if not self._final:
            return
        rows = [row for row in self._final.values() if row is not None]
        if not (self.only_inserts and self._insert_all(rows)):
            for minor, keep in self._keeps.items():
                keep.old.run(
                    [key for key in self._final if self._is(minor, key)] if self._minor_at else list(self._final)
                )
            self._put.run(rows)
            gone = [key for key, row in self._final.items() if row is None]
            self._connection.executemany(self._delete, gone)
        for minor, keep in self._keeps.items():
            for to, of in ((keep.new, rows), (keep.between, self._between)):
                to.run([row for row in of if self._is(minor, row[: self._width])] if self._minor_at else of)
        self.any = True
        self._final.clear()
        self._between.clear()
        self._major.clear()
        self.only_inserts = True

    def _is(self, minor: bool, key: Row) -> bool:
        return minor is (key not in self._major)

    def _insert_all(self, rows: list[Row]) -> bool:
        """Insert rows that have no row before; False, and nothing done, when one has.

        Asked first and not tried in a savepoint, which copies each page before its first change: with 1,000,000 rows in the
        replica and keys in no order that is nearly a page a row, 0.6 CPU seconds of 2.5 per 100,000.
        """
        if self._there.finds([row[: self._width] for row in rows]):
            return False
        self._insert.run(rows)
        return True

    def set(self, key: Row, row: Row | None, *, updated: bool = False) -> None:
        """Give a key another row, or none. updated: the row was there, and no column of it must be taken as changed."""
        if self.watcher is not None or self._minor_at:
            known = self._current(key)
            if self.watcher is not None:
                self.watcher[0](known, row)
            minor = updated and known is not None and row is not None and self._differ_in_minor(known, row)
            if self._minor_at and not minor:
                self._major.add(key)
        before = self._final.get(key)
        if before is not None:
            self._between.append(before)
        self._final[key] = row
        if len(self._between) >= PART or len(self._final) >= PART:
            self.flush()

    def _update(self, change: Record) -> None:
        row = self._decoder.updated(change.after)
        key = row[: self._width]
        if bytes(change.before) != b"null":
            old_key = self._decoder.key(change.before)
            if old_key != key:
                row = self._filled(row, old_key, self._current(old_key))
                self.set(old_key, None)
        if UNCHANGED in row:
            row = self._filled(row, key, self._current(key))
        self.set(key, row, updated=True)

    def _differ_in_minor(self, before: Row, after: Row) -> bool:
        pairs = enumerate(zip(before, after, strict=True))
        return all(a == b or at in self._minor_at for at, (a, b) in pairs)

    def _current(self, key: Row) -> Row | None:
        """The row as the change before this one left it."""
        if key in self._final:
            return self._final[key]
        row: Row | None = self._connection.execute(self._read, key).fetchone()
        return row

    def _filled(self, row: Row, key: Row, before: Row | None) -> Row:
        """The row with every column that Postgres left out taken from the row before."""
        if UNCHANGED not in row:
            return row
        if before is None:
            name = list(self.table.columns)[row.index(UNCHANGED)]
            raise ValueFormatError(
                f"{self.table.name}.{name}: an update left the value out as unchanged, and the replica has no row {key}:"
                " the log does not begin with a whole snapshot; rebuild the replica from one (relay snapshot)"
            )
        return tuple(old if new is UNCHANGED else new for new, old in zip(row, before, strict=True))
