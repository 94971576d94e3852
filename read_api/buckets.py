"""Reads across time buckets: the client names a channel, the walk names the buckets, one after the other.

    index: the buckets that there are, in the order of the rows  ──▶  a bucket's rows  ──▶  the next bucket's  ──▶ …

A request reads the index once and at most `MOST_READS` buckets; where it ends before the rows do, its page names the
bucket to go on with, and Cassandra's place within it. Buckets are disjoint in time and the index has each that has rows,
so a walk through pages of any size shows every row once, in order. A range on the time (or on the time-ordered id) is
also a range of buckets: a read from some message on begins in its bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from projections.cassandra_table import CassandraTable
from projections.time_buckets import TimeBucket, bucket_of
from read_api.cql import Shape, select_statement
from read_api.execution import Rows
from read_api.paging import foreign_page
from read_api.problem import InvalidValueError
from read_api.request import Query
from read_api.store import Store

MOST_READS = 20
"""Reads of buckets that one request makes."""


class _Place(msgspec.Struct, array_like=True, frozen=True):
    """Where a walk goes on: in this bucket, after `state`, which is empty at its beginning."""

    bucket: int
    state: bytes


_places = msgspec.msgpack.Decoder(_Place)


@dataclass(frozen=True, kw_only=True)
class Span:
    """The buckets that a query can have rows in, ends included; None is an open end."""

    least: int | None = None
    most: int | None = None


def span_of(query: Query, table: CassandraTable, bucket: TimeBucket) -> Span:
    """The span of a query; raises InvalidValueError for an id that has no time."""
    kind = table.columns[bucket.of]
    limit = 1 << (table.columns[bucket.column].bits - 1)

    def number(value: Any, field: str) -> int:
        found = bucket_of(kind, value, bucket.days)
        if found is None:
            raise InvalidValueError(
                f"{field} is no uuid v7, which has a time", hint=f"give the {bucket.of} of a row", field=field
            )
        return max(-limit, min(limit - 1, found))

    if query.equals:
        only = number(query.equals[0], bucket.of)
        return Span(least=only, most=only)
    ends = {bound.operator[0]: number(bound.value, bucket.of) for bound in query.bounds}
    return Span(least=ends.get(">"), most=ends.get("<"))


class BucketWalk:
    """Reads the rows of one bucketed read model."""

    def __init__(self, store: Store, table: CassandraTable, bucket: TimeBucket, index: CassandraTable) -> None:
        self._store = store
        self._table = table
        self._bucket = bucket
        self._index = index
        self._at = table.partition_key.index(bucket.column)
        self._descending = table.clustering[0].descending

    async def read(self, query: Query, limit: int, state: bytes | None) -> Rows:
        """At most `limit` rows, fewer also when `MOST_READS` were not enough; raises ProblemError."""
        place = _opened(state)
        buckets = await self._buckets(query, place)
        rows: list[tuple[Any, ...]] = []
        statement = select_statement(self._table, Shape.of(query))
        inner = place.state if place is not None and buckets[:1] == [place.bucket] else b""
        for number in buckets[:MOST_READS]:
            if len(rows) == limit:
                return Rows(rows=rows, state=_closed(number, b""))
            values = (*query.partition[: self._at], number, *query.partition[self._at :], *query.values_after)
            found = await self._store.read(statement, values, fetch_size=limit - len(rows), state=inner or None)
            rows += found.rows
            if found.state:
                return Rows(rows=rows, state=_closed(number, found.state))
            inner = b""
        more = buckets[MOST_READS:]
        return Rows(rows=rows, state=_closed(more[0], b"") if more else None)

    async def _buckets(self, query: Query, place: _Place | None) -> Sequence[int]:
        """The first buckets from the place on, one more than a request reads, in the direction of the query."""
        span = span_of(query, self._table, self._bucket)
        least, most = span.least, span.most
        if place is not None:
            least, most = (least, place.bucket) if self._descending != query.reversed else (place.bucket, most)
        ends = ((">=", least), ("<=", most))
        given = tuple((operator, value) for operator, value in ends if value is not None)
        shape = Shape(operators=tuple(operator for operator, _ in given), reversed=query.reversed)
        values = (*query.partition, *(value for _, value in given))
        statement, column = select_statement(self._index, shape), list(self._index.columns).index(self._bucket.column)
        found = await self._store.read(statement, values, fetch_size=MOST_READS + 1)
        rows = list(found.rows)
        while found.state and len(rows) <= MOST_READS:  # Cassandra may end a page early
            found = await self._store.read(statement, values, fetch_size=MOST_READS + 1, state=found.state)
            rows += found.rows
        return [row[column] for row in rows]


def _opened(state: bytes | None) -> _Place | None:
    if state is None:
        return None
    try:
        return _places.decode(state)
    except msgspec.DecodeError as error:  # of a time when the read model had no buckets
        raise foreign_page() from error


def _closed(bucket: int, state: bytes) -> bytes:
    return msgspec.msgpack.encode(_Place(bucket=bucket, state=state))
