"""A last-writer-wins table that decides as Cassandra does, cell by cell.

INSERT writes a row marker and each cell with its timestamp (a null is a cell tombstone); DELETE of a row shadows all
that is not newer. At one timestamp a tombstone beats data, and of two values the one whose bytes are larger stays.
https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html#data-versioning, and Cells.resolveRegular.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NONE = -1 << 63


class Table:
    """One read model's rows."""

    def __init__(self, width: int, columns: int) -> None:
        """width: of the key. columns: all of them, key first."""
        self._width = width
        self._others = columns - width
        self._rows: dict[tuple[Any, ...], _Row] = {}
        self._ranges: list[tuple[Callable[[tuple[Any, ...]], bool], int]] = []

    def insert(self, row: tuple[Any, ...], timestamp: int) -> None:
        """A whole row, key first."""
        stored = self._row(row[: self._width])
        stored.marker = max(stored.marker, timestamp)
        for at, value in enumerate(row[self._width :]):
            stored.put(at, timestamp, value)

    def update(self, key: tuple[Any, ...], cells: dict[int, Any], timestamp: int) -> None:
        """Some cells of a row (by place after the key) without a marker: what the engine must never do."""
        stored = self._row(key)
        for at, value in cells.items():
            stored.put(at, timestamp, value)

    def delete(self, key: tuple[Any, ...], timestamp: int) -> None:
        """A row tombstone."""
        stored = self._row(key)
        stored.deleted = max(stored.deleted, timestamp)

    def delete_range(self, covers: Callable[[tuple[Any, ...]], bool], timestamp: int) -> None:
        """A range tombstone over the keys that it covers, there or not."""
        self._ranges.append((covers, timestamp))

    def rows(self) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Key to the other columns, of rows that a reader would see."""
        for covers, timestamp in self._ranges:
            for key, row in self._rows.items():
                if row.deleted < timestamp and covers(key):
                    row.deleted = timestamp
        return {key: row.visible() for key, row in self._rows.items() if row.alive()}

    def _row(self, key: tuple[Any, ...]) -> _Row:
        return self._rows.setdefault(key, _Row(self._others))


class _Row:
    __slots__ = ("cells", "deleted", "marker")

    def __init__(self, width: int) -> None:
        self.marker = NONE
        self.deleted = NONE
        self.cells: list[tuple[int, Any]] = [(NONE, None)] * width

    def put(self, at: int, timestamp: int, value: Any) -> None:
        """Reconcile one cell."""
        have_timestamp, have = self.cells[at]
        if timestamp > have_timestamp or (
            timestamp == have_timestamp and have is not None and (value is None or _bytes(value) > _bytes(have))
        ):
            self.cells[at] = (timestamp, value)

    def alive(self) -> bool:
        """Whether a marker or a cell is newer than the row's deletion."""
        return self.marker > self.deleted or any(value is not None for value in self.visible())

    def visible(self) -> tuple[Any, ...]:
        """The cells that the deletion doesn't shadow."""
        return tuple(value if timestamp > self.deleted else None for timestamp, value in self.cells)


def _bytes(value: Any) -> bytes:
    """As Cassandra's serializer writes it: texts in UTF-8, integers in big-endian two's complement."""
    match value:
        case bytes():
            return value
        case int():
            return value.to_bytes(16, "big", signed=True)
        case _:
            return str(value).encode()
