"""A read model's rows in Cassandra, in one generation's table: its statements, its walk across time buckets, its feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from projections.cassandra_table import CassandraTable, cassandra_table
from projections.read_model import ReadModel
from projections.time_buckets import TimeBucket
from read_api.buckets import BucketWalk
from read_api.cql import Shape, select_statement
from read_api.execution import Rows
from read_api.feed import FeedReader
from read_api.request import Query
from read_api.store import Store


class Stored:
    """tables: by read model, the table of the generation that is read. fan_out: the declaration of a feed.

    self.tables: those whose partitions are named by what the path names, by read model. path_statement: binds that.
    """

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
        self.tables = {table.name: self.table}
        by_path = self.table
        if fan_out is not None and fan_out.fan_out is not None:
            following = fan_out.fan_out.following
            self.tables[following.name] = cassandra_table(following, table.keyspace, tables[following.name])
        if bucket is not None:
            index = cassandra_table(bucket.index, table.keyspace, tables[bucket.index.name])
            self.tables[index.name] = by_path = index
            self._walk = BucketWalk(store, self.table, bucket, index)

        self.path_statement = select_statement(by_path, Shape())

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
