"""What of a read model a stream watches: the first page of a query, and the partitions whose writing may change it."""

from __future__ import annotations

from typing import Any

import msgspec

from command_api.lsn import Lsn
from projections.partition_marks import mark
from read_api.cql import Shape
from read_api.request import Query
from read_api.rows import Reader
from read_api.store import Store
from read_api.watch import Subject
from read_api.watched import State


class Subjects:
    """Subjects of one read model. index: the reader of its buckets' index, where it has time buckets."""

    def __init__(self, reader: Reader, store: Store, index: Reader | None = None) -> None:
        self._reader = reader
        self._store = store
        self._index = index
        table = reader.route.table
        # Without the bucket: a time-ordered id says which one it is.
        self._key = (*reader.route.path, *(clustering.column for clustering in table.clustering))

    def of(self, query: Query, limit: int) -> Subject:
        """The first `limit` rows of a query."""

        async def read(seen: Lsn | None) -> State:
            return await self._reader.shown(query, limit, seen)

        async def marks(state: State) -> dict[str, set[int]]:
            return await self._marks(query, state)

        return Subject(query=query, limit=limit, key=self._key, read=read, marks=marks)

    async def _marks(self, query: Query, state: State) -> dict[str, set[int]]:
        named = dict(zip(self._reader.route.path, query.partition, strict=True))
        if not self._reader.fits:
            return {}  # of rows that Postgres answers nobody announces anything: they are looked at now and then
        bucket = self._reader.route.bucket
        if bucket is None or self._index is None:
            return {self._name: {await self._mark(self._reader, named)}}
        # The buckets of the rows that are shown, for edits; their index, which counts, for what is new or gone.
        buckets = {msgspec.json.decode(row)[bucket.column] for row in state.rows.values()}
        return {
            self._index.route.table.name: {await self._mark(self._index, named)},
            self._name: {await self._mark(self._reader, named | {bucket.column: number}) for number in buckets},
        }

    @property
    def _name(self) -> str:
        return self._reader.route.table.name

    async def _mark(self, reader: Reader, named: dict[str, Any]) -> int:
        values = [named[column] for column in reader.route.table.partition_key]
        return mark(await self._store.serialized(reader.statement(Shape()), values))
