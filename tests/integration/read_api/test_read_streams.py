"""Streams of changes over rows that a test writes by hand: who gets which events, who is shed, who is turned away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from command_api.process.settings import Settings
from projections import READ_MODELS
from projections.cassandra_table import write_timestamp
from projections.feeds import HOME_TIMELINE
from projections.orders import ORDERS_BY_USER
from projections.partition_marks import Announcement, mark, packed
from read_api import streams
from read_api.app import ReadApi
from tests.integration.read_api.stand import BY_NUMBER, MODELS, Place
from tests.integration.read_api.test_read_buckets import CHANNEL, fill
from tests.integration.read_api.test_read_feed import READER, Feed, author
from tests.unit.access.tokens import AUTH, SOMEBODY_ELSE, SUBJECT, bearer, token


class Stream:
    """One client: what it was sent. taking: cleared, it takes nothing more."""

    def __init__(self, application: ReadApi, path: str, headers: dict[str, str] | None = None) -> None:
        self.status = 0
        self.text = ""
        self.taking = asyncio.Event()
        self.taking.set()
        self._hung_up = asyncio.Event()
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": raw,
            "root_path": "",
        }  # fmt: skip
        self.task = asyncio.create_task(application(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.taking.wait()
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and body of each."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and ": " in line)
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"]) | {"id": lines["id"]}))
        return found

    async def hang_up(self) -> None:
        self._hung_up.set()
        await asyncio.wait_for(self.task, 10)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[ReadApi]:
    application = ReadApi(settings, (*MODELS, *READ_MODELS))
    await application.service.start()
    try:
        await asyncio.wait_for(application.service.store.connected(), 20)
        yield application
    finally:
        await application.service.stop()


async def until(condition: Callable[[], Any], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)  # the deadline is above


def shown(stream: Stream) -> dict[int, str]:
    """What a client shows that was told all that the stream sent."""
    rows: dict[int, str] = {}
    for kind, body in stream.events:
        rows = rows if kind == "change" else {}
        for gone in body.get("deleted", ()):
            del rows[gone["i"]]
        rows |= {row["i"]: row["t"] for row in body["upserted" if kind == "change" else "rows"]}
    return rows


def written(application: ReadApi, table: str, *values: bytes, lsn: int = 1) -> None:
    application.service.watches.heard(Announcement(lsn=lsn, marks={table: packed({mark(values)})}))


def run(place: Place, test: Callable[[ReadApi], Awaitable[None]], **sections: Any) -> None:
    async def main() -> None:
        async with opened(place.settings.model_copy(update=sections)) as application:
            await test(application)

    asyncio.run(main())


ONE = (1).to_bytes(8, "big")


def test_what_was_written_is_pushed_to_whoever_watches_it_and_to_nobody_else(place: Place) -> None:
    place.insert(BY_NUMBER, [(1, 1, "a"), (1, 2, "b")])
    place.cover(BY_NUMBER, 10)

    async def test(application: ReadApi) -> None:
        watching, other = (Stream(application, f"/read/by_number/{number}/changes") for number in (1, 2))
        await until(lambda: watching.events and other.events)
        assert [row["i"] for row in watching.events[0][1]["rows"]] == [2, 1]
        place.session.execute(
            f"DELETE FROM {place.settings.cassandra.keyspace}.by_number USING TIMESTAMP {write_timestamp(1, 20)}"
            " WHERE b = 1 AND i = 2 AND t = 'b'"
        )
        place.insert(BY_NUMBER, [(1, 3, "c")], 20)
        place.cover(BY_NUMBER, 20)
        written(application, "by_number", ONE, lsn=20)
        # A look for another reason may fall between the rows and their position, and tell of some of them before.
        await until(lambda: shown(watching) == {1: "a", 3: "c"})
        again = Stream(application, "/read/by_number/1/changes", {"Last-Event-ID": watching.events[0][1]["id"]})
        await until(lambda: again.events)
        ((kind, change),) = again.events
        assert (kind, change["covered_lsn"]) in (("change", "0/14"), ("change", "0/A"))
        assert change["upserted"] == [{"b": 1, "i": 3, "t": "c"}]
        assert change["deleted"] == [{"b": 1, "i": 2, "t": "b"}]
        for stream in (watching, other, again):
            await stream.hang_up()
        assert len(other.events) == 1

    run(place, test)


def test_time_buckets_are_watched_by_their_index_and_by_the_rows_shown(place: Place) -> None:
    days = [19_800, 19_812]
    fill(place, days)

    async def test(application: ReadApi) -> None:
        stream = Stream(application, f"/read/messages_by_channel/{CHANNEL}/changes")
        await until(lambda: stream.events)
        for number, table, values in (
            (2, "message_buckets_by_channel", (CHANNEL.bytes,)),
            (3, "messages_by_channel", (CHANNEL.bytes, (1_981).to_bytes(4, "big"))),
        ):
            days.append(19_812)
            fill(place, days)
            written(application, table, *values)
            await until(lambda number=number: len(stream.events) == number)
        await stream.hang_up()

    run(place, test)


def test_entries_of_hot_authors_are_pushed_to_who_follows_them(place: Place) -> None:
    feed = Feed(place, HOME_TIMELINE)
    feed.create()
    feed.follow(1, 2)
    feed.flag(1, 3)
    feed.post([(1, 1, 2)], copied=True)
    feed.post([(2, 2, 1)], copied=False)

    async def test(application: ReadApi) -> None:
        stream = Stream(application, f"{feed.path}/changes")
        await until(lambda: stream.events)
        feed.post([(3, 3, 1)], copied=False)
        written(application, "posts_by_author", author(3).bytes)
        written(application, "posts_by_author", author(1).bytes)
        await until(lambda: len(stream.events) == 2)
        feed.follow(3)
        feed.post([(4, 4, 3)], copied=False)
        written(application, "followees_by_user", READER.bytes)
        await until(lambda: len(stream.events) == 3)
        feed.post([(5, 5, 3)], copied=False)
        written(application, "posts_by_author", author(3).bytes)
        await until(lambda: len(stream.events) == 4)
        await stream.hang_up()
        told = [
            row["post_id"] for kind, body in stream.events for row in body["rows" if kind == "snapshot" else "upserted"]
        ]
        assert sorted(told) == sorted(feed.wanted())

    run(place, test)


def test_who_takes_nothing_is_shed_and_who_is_slow_gets_larger_steps(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SEND_SECONDS", 1.0)
    place.insert(BY_NUMBER, [(1, 0, "a")])

    async def test(application: ReadApi) -> None:
        slow, stuck, quick = (Stream(application, "/read/by_number/1/changes") for _ in range(3))
        await until(lambda: slow.events and stuck.events and quick.events)
        slow.taking.clear()
        stuck.taking.clear()
        for number in range(1, 6):
            place.insert(BY_NUMBER, [(1, number, "a")])
            written(application, "by_number", ONE)
            await until(lambda number=number: len(quick.events) == number + 1)
        slow.taking.set()
        await until(lambda: len(slow.events) == 3)  # the one under way, then all the others as one
        assert len(slow.events[2][1]["upserted"]) == 4
        await asyncio.wait_for(stuck.task, 10)
        metrics = application.service.metrics.exposition().decode()
        assert 'read_api_streams_shed_total{model="by_number"} 1.0' in metrics
        assert 'read_api_streams{model="by_number"} 2.0' in metrics
        application.close_streams()
        await asyncio.wait_for(asyncio.gather(slow.task, quick.task), 10)

    run(place, test)


def test_a_stream_too_many_is_turned_away(place: Place) -> None:
    async def test(application: ReadApi) -> None:
        first = Stream(application, "/read/by_number/1/changes")
        await until(lambda: first.events)
        second = Stream(application, "/read/by_number/1/changes")
        await asyncio.wait_for(second.task, 10)
        assert (second.status, json.loads(second.text)["type"]) == (503, "urn:lockstep:problem:too-many-streams")
        await first.hang_up()
        third = Stream(application, "/read/by_number/1/changes")
        await until(lambda: third.events)
        await third.hang_up()

    run(place, test, read_api=place.settings.read_api.model_copy(update={"max_streams": 1}))


def test_only_who_may_read_may_watch_and_as_long_as_the_token_counts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.2)
    assert ORDERS_BY_USER.owner == "user_id"
    path = f"/read/orders_by_user/{UUID(SUBJECT)}/changes"

    async def test(application: ReadApi) -> None:
        for status, headers in (
            (401, {}),
            (403, bearer(token("read:*", sub=SOMEBODY_ELSE))),
            (403, bearer(token("command:*"))),
        ):
            refused = Stream(application, path, headers)
            await asyncio.wait_for(refused.task, 10)
            assert refused.status == status
        own = Stream(application, path, bearer(token("read:*", exp=int(time.time()) + 3)))
        await until(lambda: own.events)
        await asyncio.wait_for(own.task, 10)
        assert own.status == 200

    run(place, test, auth=AUTH)
