"""A read model's rows in Cassandra, in one generation's table: its statements, its walk across time buckets, its feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from projections.cassandra_table import CassandraTable, cassandra_table
from projections.read_model import ReadModel
from projections.time_buckets import TimeBucket
from read_api.buckets import BucketWalk
from read_api.cql import Shape, select_statement
from read_api.feed import FeedReader
from read_api.request import Query
from read_api.store import Rows, Store


class Stored:
    """tables: by read model, the table of the generation that is read. fan_out: the declaration of a feed."""

    def __init__(
        self,
        store: Store,
        table: CassandraTable,
        bucket: TimeBucket | None,
        fan_out: ReadModel | None,
        tables: Mapping[str, str],
    ) -> None:
        self._store = store
        self.table = replace(table, stored=tables[table.name])
        self.feed = FeedReader(store, fan_out, table.keyspace, tables) if fan_out is not None else None
        self._statements: dict[Shape, str] = {}
        self._walk: BucketWalk | None = None
        if bucket is not None:
            index = cassandra_table(bucket.index, table.keyspace, tables[bucket.index.name])
            self._walk = BucketWalk(store, self.table, bucket, index)

    async def rows(self, query: Query, limit: int, state: bytes | None) -> Rows:
        """At most `limit` rows of a query, after Cassandra's state of the page before; raises ProblemError."""
        if self._walk is not None:
            return await self._walk.read(query, limit, state)
        return await self._store.read(self.statement(Shape.of(query)), query.values, fetch_size=limit, state=state)

    def statement(self, shape: Shape) -> str:
        """The CQL of a shape of query."""
        text = self._statements.get(shape)
        if text is None:
            text = self._statements[shape] = select_statement(self.table, shape)
        return text
