"""A page of a feed: copies of entries merged with those of hot authors, which are not copied.

    flags ──▶ mark, and which hot authors the reader follows ──▶ copies, and those authors' entries ──▶ flags again ──▶ merge

A flag is set before an author's copies go and is cleared after they are back, so an author who was not flagged before the
copies were read, nor after it, had them there; and one who was pulled has all entries in a table of its own, which no flag
takes anything from: these are read at any time after the position, so together with the copies. So only an author who came
in between has the page read again. The flags before are those that another page found after it, when that is no longer
ago than `MAX_AGE_SECONDS`: nobody becomes hot and is cleared again within so little. A reader's mark is set before the
position is published that misses copies, and cleared after they are written: it is read after the position and before
the copies. So a page takes three times of a small read, one after the other, and none of them can be left out: a mark read
beside the copies may be one that was cleared after they were read, flags beside them may be older than what they lack.

Of a feed with a cap the newest `cap` copies are read in one request from the newest on, so that nothing comes or goes
between them: further down there may be gaps. What lies there, and the feed of a marked reader, is `NotStoredError`:
Postgres has it. Not promised: a page of one instant; its entries are of the covered position or later, each by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from projections.cassandra_table import CassandraTable, cassandra_table
from projections.feed_tables import SHARD, hot_authors_table, skipped_readers_table
from projections.read_model import ReadModel
from projections.values import Kind
from read_api.cql import Shape, select_of_partitions, select_statement
from read_api.dead_letters import DeadLetters
from read_api.freshness import MAX_AGE_SECONDS
from read_api.merge import Stretch, merge, stretch
from read_api.order import Order, Row, Span
from read_api.problem import NotStoredError
from read_api.request import Bound, Query
from read_api.store import Store

_READS = 4  # of a page, while authors become hot
_NAMED = 100  # hot authors that a query names; of more, the reader's whole following is read
_SPARE = 4  # rows of an author beyond an even share of the page
_AT_ONCE = 25  # authors of one request: more would be a burden to the node that gathers them


@dataclass(frozen=True, kw_only=True)
class FeedPage:
    """rows: as the feed's table has them. more: whether there may be others after them. read: copies read for it."""

    rows: Sequence[Row]
    more: bool
    read: int


class FeedReader:
    """Reads one feed. also: read models whose position counts for its pages. tables: those of their generations."""

    def __init__(self, store: Store, model: ReadModel, keyspace: str, tables: Mapping[str, str] | None = None) -> None:
        policy = model.fan_out
        assert policy is not None, "a feed"
        self._store = store
        self._name = model.name
        self._cap = policy.cap
        self._by_uuid = model.columns[policy.author].kind is Kind.UUID
        self.also = (policy.pull.name, policy.following.name)
        stored = tables or {}
        own = stored.get(model.name, "")
        self._table = cassandra_table(model, keyspace, own)
        self._pull = cassandra_table(policy.pull, keyspace, stored.get(policy.pull.name, ""))
        columns = list(self._pull.columns)
        (reader,) = model.partition_key
        # None stands for the reader, whom an author's own table does not know.
        self._from_pull = [None if name == reader else columns.index(name) for name in self._table.columns]
        hot, skipped = hot_authors_table(model, keyspace, own), skipped_readers_table(model, keyspace, own)
        following = cassandra_table(policy.following, keyspace, stored.get(policy.following.name, ""))
        author = f'"{policy.author}"'
        self._hot_authors = f'SELECT "author" FROM {hot.qualified} WHERE "shard" = ?'
        self._skipped = f'SELECT "reader" FROM {skipped.qualified} WHERE "reader" = ?'
        self._following = f'SELECT {author} FROM {following.qualified} WHERE "{following.partition_key[0]}" = ?'
        self._of_these = f"{self._following} AND {author} IN ?"
        self._hot_known: frozenset[Any] = frozenset()
        self._hot_rows: list[Row] = []  # that they were made of
        self._hot_at = float("-inf")  # when the read of them began
        self._orders = {way: Order(self._table, reversed_=way) for way in (False, True)}

    @property
    def statements(self) -> tuple[str, ...]:
        """What every page runs."""
        copies, entries = select_statement(self._table, Shape()), select_of_partitions(self._pull, Shape())
        return self._hot_authors, self._skipped, self._of_these, copies, entries

    async def read(
        self, query: Query, limit: int, after: Sequence[Any] | None, read: int, lacking: DeadLetters | None = None
    ) -> FeedPage:
        """At most `limit` rows of a query after a clustering key; read: `FeedPage.read` of the page before.

        lacking: when there may be authors whose own table lacks rows. Raises NotStoredError, and the store's ProblemErrors.
        """
        (reader,) = query.partition
        mark = self._store.read(self._skipped, (reader,))
        authors: list[Any] | None = None
        if asyncio.get_running_loop().time() - self._hot_at <= MAX_AGE_SECONDS:
            hot = self._hot_known
            marked, authors = await asyncio.gather(mark, self._followed(reader, hot))
        else:
            marked, hot = await asyncio.gather(mark, self._hot())
        if marked.rows:
            raise NotStoredError(f"{self._name} has not all copies of this reader", reader=True)
        for _ in range(_READS):
            if lacking is not None and hot:
                authors = await self._followed(reader, hot) if authors is None else authors
                await lacking.check_several(self._pull, select_statement(self._pull, Shape()), authors)
            page, now = await self._page(query, limit, after, read, hot, authors)
            if now <= hot:
                return page
            hot, authors = now, None
        raise NotStoredError(f"authors of {self._name} became hot {_READS} times while a page was read")

    async def pulled(self, reader: Any) -> list[Any]:
        """Authors whose own entries a reader's page is merged with, by the flags that the last page of anybody found."""
        return await self._followed(reader, self._hot_known)

    async def _hot(self) -> frozenset[Any]:
        began = asyncio.get_running_loop().time()
        rows = await self._rows(self._hot_authors, (SHARD,))
        hot = self._hot_known if rows == self._hot_rows else frozenset(self._keys(rows))
        if began > self._hot_at:
            self._hot_at, self._hot_known, self._hot_rows = began, hot, rows
        return hot

    async def _followed(self, reader: Any, hot: frozenset[Any]) -> list[Any]:
        if not hot:
            return []
        if len(hot) <= _NAMED:
            return await self._column(self._of_these, (reader, list(hot)))
        return [author for author in await self._column(self._following, (reader,)) if author in hot]

    async def _column(self, cql: str, values: Sequence[Any]) -> list[Any]:
        return self._keys(await self._rows(cql, values))

    async def _rows(self, cql: str, values: Sequence[Any]) -> list[Row]:
        found = await self._store.read(cql, values)
        rows = list(found.rows)
        while found.state is not None:
            found = await self._store.read(cql, values, state=found.state)
            rows += found.rows
        return rows

    def _keys(self, rows: Sequence[Row]) -> list[Any]:
        if self._by_uuid:  # the store gives 16 bytes, which can't be bound as a key
            return [UUID(bytes=value) if isinstance(value, bytes) else value for (value,) in rows]
        return [value for (value,) in rows]

    async def _page(
        self,
        query: Query,
        limit: int,
        after: Sequence[Any] | None,
        read: int,
        hot: frozenset[Any],
        authors: Sequence[Any] | None,
    ) -> tuple[FeedPage, frozenset[Any]]:
        """A page, and the flags after it. authors: the hot ones that the reader follows, when they are known."""
        (reader,) = query.partition
        order = self._orders[query.reversed]
        span = Span(order, query, after)
        copies: _Copies | _Entries
        if self._cap is None:
            copies = _Entries(self._store, self._table, query, after, order, span, query.partition)
        else:
            copies = _Copies(self._store, self._table, query, self._cap, order, span)
        first = read + limit
        if authors is None:
            authors, _ = await asyncio.gather(self._followed(reader, hot), copies.read_on(first))
            pulled = self._pulled(query, after, order, span, authors)
            reads = [each.read_on(_share(limit, authors)) for each in pulled]
        else:
            pulled = self._pulled(query, after, order, span, authors)
            reads = [copies.read_on(first), *(each.read_on(_share(limit, authors)) for each in pulled)]
        if reads:
            await asyncio.gather(*reads)
        sources = [*pulled, copies]  # an author's own rows are the newer ones
        while True:
            flags = asyncio.create_task(self._hot())
            await asyncio.sleep(0)  # they are on their way while the rows are merged
            parts = [(source, part) for source in sources for part in source.stretches]
            merged = merge([part for _, part in parts], limit)
            now = await flags
            if not merged.wanting:
                return FeedPage(rows=merged.rows, more=merged.more, read=first), now
            wanting = {id(parts[index][0]): parts[index][0] for index in merged.wanting}
            await asyncio.gather(*(source.read_on(limit) for source in wanting.values()))

    def _pulled(
        self, query: Query, after: Sequence[Any] | None, order: Order, span: Span, authors: Sequence[Any]
    ) -> list[_Entries]:
        """The authors' own rows, of several authors a request where Cassandra can."""
        at_once = 1 if query.reversed else _AT_ONCE
        return [
            _Entries(
                self._store, self._pull, replace(query, model=self._pull.name), after, order, span,
                authors[first : first + at_once], self._from_pull,
            )
            for first in range(0, len(authors), at_once)
        ]  # fmt: skip


class _Entries:
    """The rows of some partitions from a page's beginning on, each read as far as they are wanted."""

    def __init__(
        self,
        store: Store,
        table: CassandraTable,
        query: Query,
        after: Sequence[Any] | None,
        order: Order,
        span: Span,
        partitions: Sequence[Any],
        columns: Sequence[int | None] | None = None,
    ) -> None:
        self._store = store
        self._order = order
        self._span = span
        self._columns = columns
        (self._reader,) = query.partition
        query = _from(query, after, order)
        self._values = query.values_after
        self._partitions = partitions
        self._several = not query.reversed
        shape = Shape.of(query)
        self._statement = select_of_partitions(table, shape) if self._several else select_statement(table, shape)
        self._asked = 0
        self._rows: list[Row] = []
        self._ended = False

    async def read_on(self, count: int) -> None:
        """Read `count` rows more of each partition, with those before them."""
        self._asked = most = max(2 * self._asked, self._asked + count)
        partitions = self._partitions
        values = (list(partitions), *self._values, most) if self._several else (*partitions, *self._values)
        rows: list[Row] = []
        state: bytes | None = None
        while True:
            found = await self._store.read(self._statement, values, fetch_size=most * len(partitions), state=state)
            rows += found.rows
            state = found.state
            if state is None or (len(rows) >= most and not self._several):
                break
        self._rows, self._ended = rows, state is None

    @property
    def stretches(self) -> list[Stretch]:
        """What is known of each partition that has rows."""
        of: dict[Any, list[Row]] = {}
        for row in self._rows:
            of.setdefault(row[0], []).append(row)
        return [
            stretch(
                self._as_feed(part),
                self._order,
                self._span,
                ended=len(part) < self._asked if self._several else self._ended,
            )
            for part in of.values()
        ]

    def _as_feed(self, rows: list[Row]) -> Sequence[Row]:
        if self._columns is None:
            return rows
        columns, reader = self._columns, self._reader
        return [tuple([reader if at is None else row[at] for at in columns]) for row in rows]


class _Copies:
    """The newest copies of a reader, at most `cap`, always read from the newest on and in one request."""

    def __init__(self, store: Store, table: CassandraTable, query: Query, cap: int, order: Order, span: Span) -> None:
        self._store = store
        self._statement, self._reader = select_statement(table, Shape()), query.partition
        # A range says nothing of how many rows lie above it, and the oldest rows are the last of all.
        self._whole = bool(query.equals or query.bounds or query.reversed)
        self._backwards = query.reversed
        self._cap = cap
        self._asked = 0
        self._order = order
        self._span = span
        self._rows: Sequence[Row] = ()
        self._ended = False

    async def read_on(self, count: int) -> None:
        """Read `count` rows more, with those before them; raises NotStoredError where the cap ends them."""
        if self._asked == self._cap:
            raise NotStoredError("the rest of the feed is older than its copies")
        self._asked = self._cap if self._whole else min(self._cap, max(2 * self._asked, self._asked + count))
        found = await self._store.read(self._statement, self._reader, fetch_size=self._asked)
        ended = found.state is None and len(found.rows) < self._cap
        rows: Sequence[Row] = found.rows
        if self._backwards:
            rows = rows[::-1]
            # What lies before the oldest of them is known to be nothing, or is not asked for.
            if not ended and (not rows or self._span.side(self._order.places(rows[:1])[0]) >= 0):
                raise NotStoredError("the beginning of the feed is older than its copies")
            ended = True
        self._rows, self._ended = rows, ended

    @property
    def stretches(self) -> list[Stretch]:
        """What is known of them."""
        return [stretch(self._rows, self._order, self._span, ended=self._ended)]


def _share(limit: int, authors: Sequence[Any]) -> int:
    """Rows to read of each author for a page."""
    return limit if len(authors) < 2 else min(limit, 3 * limit // (2 * len(authors)) + _SPARE)


def _from(query: Query, after: Sequence[Any] | None, order: Order) -> Query:
    """A query whose rows begin at or a little before those after a key, in one request: the span cuts them."""
    fixed = len(query.equals)
    if after is None or fixed == len(order.downward):
        return query
    down = order.downward[fixed]
    far = [bound for bound in query.bounds if bound.operator.startswith(">") == down]
    return replace(query, bounds=(Bound(operator="<=" if down else ">=", value=after[fixed]), *far))
