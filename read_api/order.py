"""Cassandra's order of rows, in Python: what rows of several partitions are merged by. Pure.

A row's place is a tuple, one entry a clustering column, that compares as Cassandra orders the rows: text by its bytes,
uuids by version before anything else, a descending column the other way round. `Order` makes places of rows, and `Span`
says whether a place lies before, within or beyond the rows that a query asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import total_ordering
from typing import Any
from uuid import UUID

from projections.cassandra_table import CassandraTable
from projections.values import Kind, ValueType
from read_api import numerics
from read_api.request import Bound, Query

Place = tuple[Any, ...]
Row = tuple[Any, ...]
BEFORE_ALL: Place = ()
"""Smaller than any row's place."""

_NUMBERS = (Kind.BOOLEAN, Kind.INTEGER, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.INTERVAL)


@total_ordering
class _Down:
    """A value that compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(self.value == other.value)

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _uuid(value: bytes | UUID) -> bytes:
    raw = value if isinstance(value, bytes) else value.bytes
    version = raw[6] >> 4
    if version == 1:  # by time, whose high bits come last
        raw = raw[6:8] + raw[4:6] + raw[:4] + raw
    return bytes((version,)) + raw


def ascending(kind: ValueType) -> Callable[[Any], Any]:
    """Values of a kind as what compares like them in Cassandra."""
    match kind.kind:
        case Kind.UUID:
            return _uuid
        case Kind.DATE:
            return lambda value: value.days_from_epoch
        case Kind.TIME:
            return lambda value: value.nanosecond_time
        case Kind.TEXT:
            return str.encode
        case Kind.NUMERIC:
            return numerics.decimal
        case other if other in _NUMBERS or other is Kind.BYTES:
            return lambda value: value
    raise AssertionError(f"no key is of kind {kind.kind}")


def _directed(kind: ValueType, *, down: bool) -> Callable[[Any], Any]:
    up = ascending(kind)
    if not down:
        return up
    if kind.kind is Kind.NUMERIC:
        return lambda value: up(value).copy_negate()  # a minus would round it
    return (lambda value: -value) if kind.kind in _NUMBERS else (lambda value: _Down(up(value)))


class Order:
    """The order of a table's rows within a partition, or the reverse of it."""

    def __init__(self, table: CassandraTable, *, reversed_: bool = False) -> None:
        self._first = len(table.partition_key)
        self.downward = [c.descending != reversed_ for c in table.clustering]
        self._columns = [
            _directed(table.columns[c.column], down=down)
            for c, down in zip(table.clustering, self.downward, strict=True)
        ]

    def places(self, rows: Iterable[Row]) -> list[Place]:
        """The place of each row, whose columns are the table's."""
        first = self._first
        columns = [[directed(row[at]) for row in rows] for at, directed in enumerate(self._columns, first)]
        return list(zip(*columns, strict=True))

    def place(self, values: Sequence[Any]) -> Place:
        """Of the first clustering values, however many are given."""
        return tuple(directed(value) for directed, value in zip(self._columns, values, strict=False))


class Span:
    """The rows that a query asks for and a page has not had yet. after: clustering values of the last row before it."""

    def __init__(self, order: Order, query: Query, after: Sequence[Any] | None = None) -> None:
        self._equals = order.place(query.equals)
        self._fixed = fixed = len(query.equals)
        self._after = BEFORE_ALL if after is None else order.place(after)
        self._near: tuple[Any, bool] | None = None  # a place in the column that is bounded, and whether it belongs
        self._far: tuple[Any, bool] | None = None
        for bound in query.bounds:
            at = order.place((*query.equals, bound.value))[fixed], bound.operator.endswith("=")
            if _is_lower(bound) != order.downward[fixed]:
                self._near = at
            else:
                self._far = at

    def side(self, place: Place) -> int:
        """-1 before, 0 within, 1 beyond."""
        head = place[: self._fixed]
        if head != self._equals:
            return -1 if head < self._equals else 1
        if place <= self._after:
            return -1
        if self._near is not None:
            value, belongs = self._near
            if place[self._fixed] < value or (place[self._fixed] == value and not belongs):
                return -1
        if self._far is not None:
            value, belongs = self._far
            if place[self._fixed] > value or (place[self._fixed] == value and not belongs):
                return 1
        return 0


def _is_lower(bound: Bound) -> bool:
    return bound.operator.startswith(">")
