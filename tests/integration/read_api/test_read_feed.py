"""Pages of a feed over flags, copies and entries that a test writes by hand: merged, each row once, nothing left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from uuid import UUID

import pytest

from projections import READ_MODELS
from projections.feed_tables import SHARD, feed_tables
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.read_model import ReadModel
from read_api.instants import format_timestamptz
from tests.integration.read_api.stand import Get, Place, refusal, serving

READER = UUID(int=7)
CAP = 12
POLICY = HOME_TIMELINE.fan_out
assert POLICY is not None
FEEDS = {
    name: replace(HOME_TIMELINE, name=name, fan_out=replace(POLICY, cap=cap))
    for name, cap in (("capped", CAP), ("endless", None))
}


def author(number: int) -> UUID:
    return UUID(int=100 + number)


@dataclass
class Feed:
    """A feed's tables; `posts` is (time, number, author) of what the reader is to see."""

    place: Place
    model: ReadModel
    posts: list[tuple[int, int, int]] = field(default_factory=list)

    def create(self) -> None:
        self.place.make(self.model)
        for model in (self.model, POSTS_BY_AUTHOR, FOLLOWEES_BY_USER):
            self.place.cover(model, 100)

    def follow(self, *authors: int) -> None:
        self.place.insert(FOLLOWEES_BY_USER, [(READER, author(number), 0) for number in authors])

    def flag(self, *authors: int) -> None:
        self._beside(0, [(SHARD, author(number)) for number in authors])

    def skip(self) -> None:
        self._beside(1, [(READER,)])

    def _beside(self, which: int, rows: Iterable[tuple[Any, ...]]) -> None:
        table = feed_tables(self.model, self.place.settings.cassandra.keyspace)[which]
        for row in rows:
            self.place.session.execute(self.place.session.prepare(table.insert()), row)

    def post(self, posts: Iterable[tuple[int, int, int]], *, copied: bool, entries: bool = True) -> None:
        """Posts of (time, number, author), as copies, entries of their author, or both."""
        posts = list(posts)
        ids = [(at, UUID(int=number), author(by)) for at, number, by in posts]
        rest = ("Ada", None, "hello", 3)
        if copied:
            self.place.insert(self.model, [(READER, at, post, by, *rest) for at, post, by in ids])
        if entries:
            self.place.insert(POSTS_BY_AUTHOR, [(by, at, post, *rest) for at, post, by in ids])
        self.posts += posts

    def wanted(self, *, reversed_: bool = False) -> list[str]:
        """The ids in the feed's order: the newest first, those of one instant by their number."""
        found = sorted({(-at, number) for at, number, _ in self.posts}, reverse=reversed_)
        if reversed_:
            found = sorted({(at, -number) for at, number, _ in self.posts})
        return [str(UUID(int=abs(number))) for _, number in found]

    @property
    def path(self) -> str:
        return f"/read/{self.model.name}/{READER}"

    def serving(self) -> Any:
        return serving(self.place.settings, (*READ_MODELS, *FEEDS.values()))


@pytest.fixture(params=FEEDS)
def feed(request: pytest.FixtureRequest, place: Place) -> Feed:
    made = Feed(place, FEEDS[request.param])
    for model in FEEDS.values():  # the application prepares the statements of both
        Feed(place, model).create()
    return made


async def walk(get: Get, path: str, limit: int, **parameters: str) -> list[str]:
    """The ids of every page, one after the other."""
    found: list[str] = []
    page: str | None = ""
    while page is not None:
        reply = await get(path, params=parameters | {"limit": str(limit)} | ({"page": page} if page else {}))
        assert reply.status_code == 200, reply.text
        rows = reply.json()["rows"]
        assert len(rows) <= limit
        assert {row["user_id"] for row in rows} <= {str(READER)}
        found += [row["post_id"] for row in rows]
        page = reply.json()["next_page"]
        assert len(found) < 1_000
    return found


def get_all(feed: Feed, *limits: int, **parameters: str) -> list[list[str]]:
    async def run() -> list[list[str]]:
        async with feed.serving() as get:
            return [await walk(get, feed.path, limit, **parameters) for limit in limits]

    return asyncio.run(run())


@pytest.mark.parametrize("seed", range(4))
def test_pushed_and_pulled_rows_are_one_feed_whatever_the_page_size(feed: Feed, seed: int) -> None:
    random = Random(seed)
    numbers = iter(random.sample(range(1, 10_000), 400))

    def some(count: int, *authors: int) -> list[tuple[int, int, int]]:
        return [(random.randrange(12), next(numbers), random.choice(authors)) for _ in range(count)]

    feed.follow(0, 1, 2, 3, 4)
    feed.flag(1, 2, 3, 9)
    feed.post(some(random.randrange(CAP), 0, 4), copied=True)
    feed.post(some(40, 1, 2), copied=False)
    feed.post(
        some(0 if seed == 0 else 3, 3), copied=seed % 2 == 0
    )  # a flip that is not worked off: copies are there too
    stranger = Feed(feed.place, feed.model)
    stranger.post(some(5, 9), copied=False)  # hot, and not followed
    for found, limit in zip(get_all(feed, 1, 2, 7, 100), (1, 2, 7, 100), strict=True):
        assert found == feed.wanted(), (seed, limit)
    assert get_all(feed, 5, order="reversed") == [feed.wanted(reversed_=True)], seed


def test_nobody_is_pulled_who_is_not_hot(feed: Feed) -> None:
    feed.follow(0, 1)
    feed.post([(5, 1, 0)], copied=True)
    Feed(feed.place, feed.model).post([(6, 2, 1)], copied=False)
    assert get_all(feed, 10) == [feed.wanted()]


def test_ranges_and_single_rows_are_found_in_both_parts(feed: Feed) -> None:
    feed.follow(0, 1)
    feed.flag(1)
    feed.post([(at, at, 0) for at in range(0, 10, 2)], copied=True)
    feed.post([(at, at, 1) for at in range(1, 10, 2)], copied=False)

    async def run() -> None:
        async with feed.serving() as get:
            times = {"created_at.gte": format_timestamptz(3), "created_at.lt": format_timestamptz(8)}
            for limit in (1, 2, 10):
                assert await walk(get, feed.path, limit, **times) == [str(UUID(int=n)) for n in (7, 6, 5, 4, 3)]
                back = await walk(get, feed.path, limit, order="reversed", **times)
                assert back == [str(UUID(int=n)) for n in (3, 4, 5, 6, 7)]
            for number in (4, 5):
                key = {"created_at": format_timestamptz(number), "post_id": str(UUID(int=number))}
                assert await walk(get, feed.path, 10, **key) == [key["post_id"]]
            assert await walk(get, feed.path, 10, created_at=format_timestamptz(77)) == []

    asyncio.run(run())


def test_a_reply_covers_what_all_three_read_models_cover(feed: Feed) -> None:
    feed.follow(0)
    feed.post([(1, 1, 0)], copied=True)
    feed.place.cover(feed.model, 300)
    feed.place.cover(POSTS_BY_AUTHOR, 200)

    async def run() -> None:
        async with feed.serving() as get:
            assert (await get(feed.path)).json()["covered_lsn"] == "0/64"
            feed.place.cover(FOLLOWEES_BY_USER, 400)
            await asyncio.sleep(0.05)  # positions may be as old as MAX_AGE_SECONDS
            assert (await get(feed.path)).json()["covered_lsn"] == "0/C8"
            late = await get(feed.path, params={"token": "0/12C"}, headers={"Prefer": "wait=0.05"})
            refusal(late, 503)

    asyncio.run(run())


def test_the_feed_of_a_skipped_reader_is_not_taken_from_copies(feed: Feed) -> None:
    feed.follow(0)
    feed.post([(1, 1, 0)], copied=True)
    feed.skip()

    async def run() -> None:
        async with feed.serving() as get:
            problem = refusal(await get(feed.path), 503)
            assert problem["type"].endswith("not-stored")

    asyncio.run(run())


def test_copies_below_the_cap_are_not_believed(place: Place) -> None:
    feed = Feed(place, FEEDS["capped"])
    for model in FEEDS.values():
        Feed(place, model).create()
    feed.follow(0, 1)
    feed.flag(1)
    feed.post([(at, at, 0) for at in range(100, 100 + CAP)], copied=True)
    feed.post([(90, 90, 0)], copied=True, entries=False)  # left of a trim: what lay between is gone
    feed.post([(at, 1_000 + at, 1) for at in (105, 95, 80)], copied=False)
    newest = feed.wanted()[: CAP + 1]

    async def run() -> None:
        async with feed.serving() as get:
            whole = await get(feed.path, params={"limit": CAP + 1})
            assert [row["post_id"] for row in whole.json()["rows"]] == newest
            page = whole.json()["next_page"]
            assert refusal(await get(feed.path, params={"limit": 1, "page": page}), 503)["type"].endswith("not-stored")
            refusal(await get(feed.path, params={"limit": CAP + 2}), 503)
            refusal(await get(feed.path, params={"order": "reversed", "limit": 1}), 503)
            above = {"created_at.gt": format_timestamptz(100)}
            assert await walk(get, feed.path, 5, **above) == newest[:-1]
            assert await walk(get, feed.path, 2, order="reversed", **above) == newest[:-1][::-1]

    asyncio.run(run())


def test_an_author_who_becomes_hot_while_a_page_is_read_is_pulled(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag comes, and the copies go, after the flags were read and before the copies are."""
    from read_api import feed as module

    feed.follow(0, 1)
    feed.post([(at, at, 0) for at in range(5)], copied=True)
    feed.post([(at, at, 1) for at in range(5, 10)], copied=False)
    flips: list[int] = []
    page = module.FeedReader._page

    async def flip_then_page(self: Any, *arguments: Any) -> Any:
        if not flips:
            flips.append(1)
            await asyncio.to_thread(feed.flag, *flips)
        return await page(self, *arguments)

    monkeypatch.setattr(module.FeedReader, "_page", flip_then_page)
    assert get_all(feed, 20) == [feed.wanted()]
    assert flips
