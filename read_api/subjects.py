"""What of a read model a stream watches: the first page of a query, and the partitions whose writing may change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Subjects of one read model. readers: of all, by name: partitions of others may be shown with its own."""

    def __init__(self, reader: Reader, store: Store, readers: Mapping[str, Reader]) -> None:
        self._reader = reader
        self._store = store
        self._readers = readers
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
        bucket, feed = self._reader.route.bucket, self._reader.stored.feed
        if bucket is not None:
            # The buckets of the rows that are shown, for edits; their index, which counts, for what is new or gone.
            buckets = {msgspec.json.decode(row)[bucket.column] for row in state.rows.values()}
            return {
                bucket.index.name: {await self._mark(self._readers[bucket.index.name], query.partition)},
                self._name: {await self._named(named | {bucket.column: number}) for number in buckets},
            }
        own = {self._name: {await self._named(named)}}
        if feed is None:
            return own
        # Entries of hot authors are nowhere but with them, and whom the reader follows says whose they are.
        (reader,) = query.partition
        pull, following = feed.also
        return own | {
            pull: {await self._mark(self._readers[pull], (author,)) for author in await feed.pulled(reader)},
            following: {await self._mark(self._readers[following], (reader,))},
        }

    @property
    def _name(self) -> str:
        return self._reader.route.table.name

    async def _named(self, named: Mapping[str, Any]) -> int:
        return await self._mark(self._reader, [named[column] for column in self._reader.route.table.partition_key])

    async def _mark(self, reader: Reader, partition: Sequence[Any]) -> int:
        return mark(await self._store.serialized(reader.statement(Shape()), partition))
