"""A read: the position first, then the rows, and the reply that says both.

The order is the promise. A reply that says ``covered_lsn`` L shows the state at L or later, because L was covered
before the rows were read; the other order shows stale rows under a new position. A page carries the position of the
page before it as its token, so that a walk through pages never goes back in time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from command_api.lsn import Lsn
from projections.cassandra_table import cassandra_table
from read_api.buckets import BucketWalk
from read_api.cql import Shape, select_statement
from read_api.freshness import Freshness, Position
from read_api.paging import Page, PageSeal
from read_api.rendering import RowRenderer
from read_api.request import Query, ReadRequest, Route
from read_api.store import Rows, Store


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The JSON of a reply. rows: one object a row. next_page: None at the end."""

    rows: list[msgspec.Struct]
    covered_lsn: str
    lag_seconds: float | None
    next_page: str | None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A body, encoded, with what its headers repeat; `count` is of rows."""

    body: bytes
    covered: Lsn
    lag_seconds: float | None
    count: int


_encode = msgspec.json.Encoder().encode


class Reader:
    """Reads one read model."""

    def __init__(self, route: Route, store: Store, freshness: Freshness, seal: PageSeal) -> None:
        self.route = route
        self._name = route.table.name
        self._store = store
        self._freshness = freshness
        self._seal = seal
        self._render = RowRenderer(route.table.columns)
        self._statements: dict[Shape, str] = {}
        self._index: str | None = None
        self._walk: BucketWalk | None = None
        if route.bucket is not None:
            self._index = route.bucket.index.name
            index = cassandra_table(route.bucket.index, route.table.keyspace)
            self._walk = BucketWalk(store, route.table, route.bucket, index)

    async def read(self, request: ReadRequest, bound: float) -> Reply:
        """The reply to a request, waiting at most `bound` seconds for its token; raises ProblemError."""
        query = request.query
        page = self._seal.open(request.page, query) if request.page is not None else None
        token = request.token
        if page is not None:
            token = max(page.covered, token or page.covered)
        position = await self._position(token, bound)
        rows = await self._rows(query, request.limit, page.state if page is not None else None)
        lag = position.lag_seconds()
        lag = None if lag is None else round(lag, 6)
        following = Page(covered=position.lsn, state=rows.state) if rows.state else None
        body = Body(
            rows=self._render(rows.rows),
            covered_lsn=str(position.lsn),
            lag_seconds=lag,
            next_page=self._seal.close(following, query) if following is not None else None,
        )
        return Reply(body=_encode(body), covered=position.lsn, lag_seconds=lag, count=len(rows.rows))

    async def _position(self, token: Lsn | None, bound: float) -> Position:
        """What is covered: by the rows, and by the index that says in which buckets they are."""
        loop = asyncio.get_running_loop()
        until = loop.time() + bound
        position = await self._freshness.at_least(self._name, token, bound)
        if self._index is None:
            return position
        of_index = await self._freshness.at_least(self._index, token, max(0.0, until - loop.time()))
        return min(position, of_index, key=lambda one: one.lsn)

    async def _rows(self, query: Query, limit: int, state: bytes | None) -> Rows:
        if self._walk is not None:
            return await self._walk.read(query, limit, state)
        return await self._store.read(self.statement(Shape.of(query)), query.values, fetch_size=limit, state=state)

    def statement(self, shape: Shape) -> str:
        """The CQL of a shape of query."""
        text = self._statements.get(shape)
        if text is None:
            text = self._statements[shape] = select_statement(self.route.table, shape)
        return text
