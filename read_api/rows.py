"""A read: the position first, then the rows, and the reply that says both; from Postgres when that took too long.

The order is the promise. A reply that says ``covered_lsn`` L shows the state at L or later, because L was covered
before the rows were read; the other order shows stale rows under a new position. A page carries the position of the
page before it as its token, so that a walk through pages never goes back in time.

A read with a token that its read model does not cover in time, or whose store is away, is answered from Postgres by the
declared select(). Those rows may be newer than the token, up to the position `seen`: the next page, and a reader who sends
``Consistency-Token`` of the reply along, waits for that one, and so never finds Cassandra behind what it was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken, merged
from projections.read_model import ReadModel
from read_api.continuation import key_of, read_key, rest
from read_api.coverage import NOTHING_DECLARED, Declared
from read_api.cql import Shape
from read_api.dead_letters import DeadLetters
from read_api.execution import Rows
from read_api.fallback import Fallback, FallbackError
from read_api.feed import FeedReader
from read_api.freshness import Freshness, Position
from read_api.live import Live
from read_api.paging import Page, PageSeal, foreign_page
from read_api.problem import (
    LacksRowsError,
    NotCoveredError,
    NotFilledError,
    NotStoredError,
    OtherDeclarationError,
    ProblemError,
    StoreNotSetUpError,
    StoreUnavailableError,
)
from read_api.rebuilds import Rebuilds
from read_api.rendering import RowRenderer
from read_api.request import Query, ReadRequest, Route
from read_api.source_query import SourceQuery
from read_api.store import Store
from read_api.stored import Stored
from read_api.watched import State


class Source(StrEnum):
    """Where a reply's rows came from."""

    READ_MODEL = "read-model"
    POSTGRES = "postgres"


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The JSON of a reply. rows: an array of one object a row. stale: older than declared. next_page: None at the end.

    dead_letters: rows of it that Cassandra refuses, so that Postgres was asked; absent when there are none.
    """

    rows: msgspec.Raw
    source: Source
    covered_lsn: str
    lag_seconds: float | None
    stale: bool
    next_page: str | None
    dead_letters: Sequence[Mapping[str, Any]] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A body, encoded, with what its headers repeat; `count` is of rows, `token` what a later read is to cover.

    rows: the body's, encoded. more: whether there are others after them.
    """

    body: bytes
    rows: bytes
    more: bool
    stale: bool
    source: Source
    covered: Lsn
    token: ConsistencyToken
    lag_seconds: float | None
    count: int


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """found: rows in the form of Cassandra's driver, and what continues after them in `table`. more: whether there may be others."""

    found: Rows
    source: Source
    covered: Lsn
    token: Lsn
    lag_seconds: float | None
    more: bool
    table: str = ""
    dead_letters: Sequence[Mapping[str, Any]] = ()


_encode = msgspec.json.Encoder().encode
_BEGINNING = Page(covered=Lsn(0))
_BUDGETED_S = 0.1  # several times the lag of a read model that no budget holds back


class Reader:
    """Reads one read model.

    fallback, source: Postgres and this read model's SQL there; None asks Postgres never.
    declared: its source tables, of which a token waits, and how old its rows may be.
    live: which generation is read. feed: the declaration of a feed. rebuilds: told of readers whose feed is not stored.
    dead_letters: asked before rows are read of a read model that lacks some.
    """

    def __init__(
        self,
        route: Route,
        store: Store,
        freshness: Freshness,
        live: Live,
        seal: PageSeal,
        fallback: Fallback | None = None,
        source: SourceQuery | None = None,
        declared: Declared = NOTHING_DECLARED,
        feed: ReadModel | None = None,
        rebuilds: Rebuilds | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self.route = route
        self._name = route.table.name
        self._store = store
        self._freshness = freshness
        self._live = live
        self._seal = seal
        self._fallback = fallback
        self._source = source
        self._declared = declared
        self._tables = declared.tables
        self._render = RowRenderer(route.table.columns, same=route.path)
        self._feed = feed
        self._rebuilds = rebuilds
        self._dead_letters = dead_letters
        self._also: tuple[str, ...] = ()  # read models whose positions count too
        if feed is not None and feed.fan_out is not None:
            self._also = (feed.fan_out.pull.name, feed.fan_out.following.name)
        if route.bucket is not None:
            self._also = (route.bucket.index.name,)
        self._stored: Stored | None = None
        self._version = -1
        self._last = Lsn(0), ConsistencyToken.of(self._tables, Lsn(0))

    def bound(self, most: float, preferred: float | None) -> float:
        """Seconds that a request waits for its token: `most`, or less when its caller prefers that.

        A column's budget holds a position back for seconds on end: when Postgres can answer, it is asked soon.
        """
        if preferred is None and self._declared.budgeted and self._fallback is not None:
            preferred = _BUDGETED_S
        return most if preferred is None else min(most, preferred)

    async def read(self, request: ReadRequest, bound: float) -> Reply:
        """The reply to a request, waiting at most `bound` seconds for its token; raises ProblemError."""
        query, page = request.query, _BEGINNING
        token = request.token.position(self._tables) if request.token is not None else None
        if request.page is not None:
            page = self._seal.open(request.page, query)
            token = max(page.covered, token or page.covered)
        after = read_key(page.after, self.route.table) if page.after is not None else None
        answer = await self._answered(request, page, after, token, bound)
        found = answer.found
        following = None
        if answer.more and self.route.table.clustering:
            following = Page(
                covered=answer.token,
                after=key_of(found.rows[-1], self.route.table) if found.rows else page.after,
                state=found.state,
                table=answer.table,
                postgres=answer.source is Source.POSTGRES,
            )
        if found.encoded is None:  # else it was somebody who shares them
            found.encoded = _encode(self._render(found.rows))
        stale = answer.source is Source.READ_MODEL and self._declared.broken(answer.lag_seconds)
        body = Body(
            rows=msgspec.Raw(found.encoded),
            source=answer.source,
            covered_lsn=str(answer.covered),
            lag_seconds=answer.lag_seconds,
            stale=stale,
            next_page=self._seal.close(following, query) if following is not None else None,
            dead_letters=answer.dead_letters,
        )
        return Reply(
            body=_encode(body),
            rows=found.encoded,
            more=following is not None,
            stale=stale,
            source=answer.source,
            covered=answer.covered,
            token=self._shown(answer.token, request.token),
            lag_seconds=answer.lag_seconds,
            count=len(found.rows),
        )

    async def shown(self, query: Query, limit: int, seen: Lsn | None = None) -> State:
        """The first rows of a query as of now, for whoever watches them and has seen `seen`; raises ProblemError."""
        answer = await self._answered(ReadRequest(query=query, limit=limit), _BEGINNING, None, seen, 0.0)
        keys = (key_of(row, self.route.table) for row in answer.found.rows)
        return State(
            rows=dict(zip(keys, map(_encode, self._render(answer.found.rows)), strict=True)),
            covered=answer.covered,
            seen=answer.token if answer.source is Source.POSTGRES else None,
        )

    async def covered(self, token: ConsistencyToken | None, bound: float) -> Lsn:
        """The position that is covered, a token's waited for at most `bound` seconds; raises ProblemError."""
        await self._live.known()
        return (await self._position(token.position(self._tables) if token is not None else None, bound)).lsn

    @property
    def fits(self) -> bool:
        """Whether the generations that are read hold what is declared here."""
        return all(self._live.fits(name) for name in (self._name, *self._also))

    @property
    def stored(self) -> Stored:
        """The rows in the generations that are read now: another one whenever a pointer has moved."""
        if self._stored is None or self._version != self._live.version:
            self._version = self._live.version
            tables = {name: self._live.table(name) for name in (self._name, *self._also)}
            self._stored = Stored(self._store, self.route.table, self.route.bucket, self._feed, tables)
        return self._stored

    async def _answered(
        self, request: ReadRequest, page: Page, after: Sequence[Any] | None, token: Lsn | None, bound: float
    ) -> _Answer:
        try:
            # Who has just waited in vain and was answered by Postgres is not made to wait again at each page.
            bound = 0.0 if page.postgres else bound
            before = self.stored
            try:
                return await self._from_read_model(request, page, after, token, bound)
            except StoreNotSetUpError:
                await self._live.look()
                if self.stored is before:
                    raise
                # The table was dropped after the pointer had moved, which this process did not know yet.
                return await self._from_read_model(request, page, after, token, bound)
        except (NotCoveredError, StoreUnavailableError, NotStoredError) as problem:
            if isinstance(problem, NotStoredError):
                token = max(token or problem.covered, problem.covered)
                if problem.reader and self._rebuilds is not None:
                    self._rebuilds.ask(self._name, *request.query.partition)
            if token is None or self._fallback is None or self._source is None:
                raise
            return await self._from_postgres(self._fallback, self._source, request, after, token, problem)

    async def _from_read_model(
        self, request: ReadRequest, page: Page, after: Sequence[Any] | None, token: Lsn | None, bound: float
    ) -> _Answer:
        stored, position = await self._generation(token, bound)
        query = request.query
        own_state = page.state if page.table == stored.table.stored else None
        await self._check_dead_letters(stored, query, position)
        if stored.feed is not None:
            found, more = await self._merged(stored.feed, request, page, after, position)
        elif after is None or own_state is not None:
            found = await stored.rows(query, request.limit, own_state)
            more = found.state is not None
        else:
            rows, more = await self._after(stored, query, after, request.limit)
            found = Rows(rows, None)
        lag = position.lag_seconds()
        return _Answer(
            found=found,
            source=Source.READ_MODEL,
            covered=position.lsn,
            token=position.lsn,
            lag_seconds=None if lag is None else round(lag, 6),
            more=more,
            table=stored.table.stored,
        )

    async def _generation(self, token: Lsn | None, bound: float) -> tuple[Stored, Position]:
        """The generations that are read, and then what they cover; raises ProblemError."""
        await self._live.known()
        while True:
            stored, fits = self.stored, self.fits
            position = await self._position(token if fits else None, bound)
            if stored is self.stored:  # no pointer has moved meanwhile
                break
        if not fits:
            problem = OtherDeclarationError(f"{self._name} holds another declaration than this server's now")
            problem.covered = position.lsn
            raise problem
        if position.unfilled:
            raise NotFilledError(f"{self._name} has rows without the values of a column that was added to it")
        return stored, position

    async def _check_dead_letters(self, stored: Stored, query: Query, position: Position) -> None:
        """Raise LacksRowsError when Cassandra does not have all rows of a partition; the merged ones' are `_merged`'s."""
        for name in (self._name, *self._also):
            if self._dead_letters is None or not self._freshness.dead_letters(name):
                continue
            table = stored.tables.get(name)
            if table is not None:
                try:
                    await self._dead_letters.check(table, stored.path_statement, query.partition)
                except LacksRowsError as problem:
                    problem.covered = position.lsn
                    raise

    async def _merged(
        self, feed: FeedReader, request: ReadRequest, page: Page, after: Sequence[Any] | None, position: Position
    ) -> tuple[Rows, bool]:
        try:
            read = 0 if page.state is None else int(page.state)
        except ValueError as error:
            raise foreign_page() from error
        try:
            lacking = self._dead_letters if self._freshness.dead_letters(feed.also[0]) else None
            found = await feed.read(request.query, request.limit, after, read, lacking)
        except NotStoredError as problem:
            problem.covered = position.lsn
            raise
        return Rows(found.rows, b"%d" % found.read), found.more

    async def _after(
        self, stored: Stored, query: Query, after: Sequence[Any], limit: int
    ) -> tuple[list[tuple[Any, ...]], bool]:
        """At most `limit` rows after a key, and whether there may be more."""
        rows: list[tuple[Any, ...]] = []
        for part in rest(query, after, self.route.table):
            if len(rows) == limit:
                return rows, True
            found = await stored.rows(part, limit - len(rows), None)
            while found.state is not None and not found.rows:  # a page without rows has no key to go on from
                found = await stored.rows(part, limit - len(rows), found.state)
            rows += found.rows
            if found.state is not None:
                return rows, True
        return rows, False

    async def _position(self, token: Lsn | None, bound: float) -> Position:
        """What is covered: by the rows, and by the read models that say where they are, or have some of them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + bound
        position = await self._freshness.at_least(self._name, token, bound)
        for name in self._also:
            other = await self._freshness.at_least(name, token, max(0.0, until - loop.time()))
            position = min(position, other, key=lambda one: (not one.unfilled, one.lsn))
        return position

    async def _from_postgres(
        self,
        fallback: Fallback,
        source: SourceQuery,
        request: ReadRequest,
        after: Sequence[Any] | None,
        token: Lsn,
        problem: ProblemError,
    ) -> _Answer:
        try:
            found = await fallback.read(source, request.query, limit=request.limit, after=after, token=token)
        except FallbackError as error:
            known = {"lag_seconds": self._freshness.lag_seconds(self._name)}
            raise problem.saying(**known | problem.members | {"fallback": str(error)}) from error
        return _Answer(
            found=Rows(found.rows, None),
            source=Source.POSTGRES,
            covered=token,
            token=max(token, found.seen),
            lag_seconds=0.0,
            more=found.more,
            dead_letters=problem.members.get("dead_letters", ()),
        )

    def _shown(self, lsn: Lsn, asked: ConsistencyToken | None) -> ConsistencyToken:
        """Both the request's token and what its reply has shown: a client that keeps the newest token forgets nothing."""
        if lsn != self._last[0]:  # many replies show one position
            self._last = lsn, ConsistencyToken.of(self._tables, lsn)
        shown = self._last[1]
        return shown if asked is None else merged((asked, shown))

    def statement(self, shape: Shape) -> str:
        """The CQL of a shape of query, on the generation that is read now."""
        return self.stored.statement(shape)
