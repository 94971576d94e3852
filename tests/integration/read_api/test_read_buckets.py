"""Reads across time buckets: every row once and in order, whatever the page size, and few reads where there is nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from command_api.lsn import Lsn
from projections.cassandra_table import cassandra_table
from projections.messages import MESSAGE_BUCKETS_BY_CHANNEL, MESSAGES_BY_CHANNEL
from projections.read_model import ReadModel, descending
from projections.time_buckets import TimeBucket, days_bucket
from read_api import buckets
from tests.integration.read_api.stand import VALUES, Get, Place, refusal, serving

DAY_MS = 86_400_000
CHANNEL, OTHER, AUTHOR = UUID(int=1), UUID(int=2), UUID(int=3)
PATH = f"/read/messages_by_channel/{CHANNEL}"


def message_id(day: int, salt: int = 0) -> UUID:
    return UUID(int=(day * DAY_MS + salt // 3) << 80 | 7 << 76 | 2 << 62 | salt)


def fill(place: Place, days: list[int], channel: UUID = CHANNEL) -> list[str]:
    """A message for each day of the list; returns the ids, newest first."""
    ids = sorted((message_id(day, n) for n, day in enumerate(days)), reverse=True)
    names = {"channel_id": channel, "author_id": AUTHOR, "author_name": "Ada", "avatar_url": None, "body": "x"}
    rows, counts = [], dict[int, int]()
    for each in ids:
        milliseconds = each.int >> 80
        bucket = milliseconds // DAY_MS // 10
        counts[bucket] = counts.get(bucket, 0) + 1
        values = names | {"bucket": bucket, "message_id": each, "sent_at": milliseconds * 1000, "version": 1}
        rows.append(values)
    order = (
        "channel_id",
        "bucket",
        "message_id",
        "sent_at",
        "author_id",
        "author_name",
        "avatar_url",
        "body",
        "version",
    )
    place.insert(MESSAGES_BY_CHANNEL, [[row[name] for name in order] for row in rows])
    place.insert(MESSAGE_BUCKETS_BY_CHANNEL, [(channel, bucket, count) for bucket, count in counts.items()])
    return [str(each) for each in ids]


async def walk(get: Get, path: str, limit: int, column: str = "message_id", **parameters: str) -> list[Any]:
    """Every page of a read, one after the other."""
    found: list[Any] = []
    page, pages = None, 0
    while page is not None or not pages:
        response = await get(path, params=parameters | {"limit": limit} | ({"page": page} if page else {}))
        assert response.status_code == 200, response.text
        rows = response.json()["rows"]
        assert len(rows) <= limit
        found += [row[column] for row in rows]
        page, pages = response.json()["next_page"], pages + 1
        assert pages < 1_000
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_channel_reads_as_one_whatever_the_page_size(place: Place, seed: int) -> None:
    random = Random(seed)
    spread = random.choice((5, 300, 20_000))
    ids = fill(place, [20_000 - random.randrange(spread) for _ in range(random.choice((1, 60, 150)))])
    fill(place, [19_995, 19_000], OTHER)

    async def check() -> None:
        async with serving(place.settings) as get:
            for limit in (1, 2, 7, 50, 1000):
                assert await walk(get, PATH, limit) == ids
                assert await walk(get, PATH, limit, order="reversed") == ids[::-1]
            for _ in range(4):
                low, high = sorted(random.choices(range(len(ids)), k=2))
                newest, oldest = ids[low], ids[high]
                limit = random.choice((1, 3, 40))
                assert await walk(get, PATH, limit, **{"message_id.lt": newest}) == ids[low + 1 :]
                assert await walk(get, PATH, limit, **{"message_id.gte": oldest}) == ids[: high + 1]
                both = {"message_id.lte": newest, "message_id.gt": oldest}
                assert await walk(get, PATH, limit, **both) == ids[low:high]
                assert await walk(get, PATH, limit, order="reversed", **both) == ids[low:high][::-1]
                assert await walk(get, PATH, limit, message_id=newest) == [newest]
            assert await walk(get, PATH, 5, message_id=str(message_id(1))) == []

    asyncio.run(check())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are read in a test."""
    seen: list[str] = []
    original: Callable[..., Any] = buckets.Store.read

    async def counted(self: Any, cql: str, *values: Any, **more: Any) -> Any:
        if "projection_" not in cql:  # positions and generations are looked at now and then
            seen.append(cql)
        return await original(self, cql, *values, **more)

    monkeypatch.setattr(buckets.Store, "read", counted)
    return seen


def test_years_of_silence_cost_nothing_and_a_request_has_a_bound(place: Place, reads: list[str]) -> None:
    ids = fill(place, [20_000, 10_000, 3])
    sparse = fill(place, [20_000 - 10 * n for n in range(100)], OTHER)

    async def check() -> None:
        async with serving(place.settings) as get:
            rows = (await get(PATH, params={"limit": 10})).json()["rows"]
            assert [row["message_id"] for row in rows] == ids
            assert len(reads) == 1 + 3
            reads.clear()
            # Before a message: the newer buckets are not asked.
            rows = (await get(PATH, params={"limit": 10, "message_id.lt": ids[1]})).json()["rows"]
            assert [row["message_id"] for row in rows] == ids[2:]
            assert len(reads) == 1 + 2
            reads.clear()
            assert (await get(f"/read/messages_by_channel/{UUID(int=9)}")).json()["rows"] == []
            assert len(reads) == 1
            reads.clear()
            path = f"/read/messages_by_channel/{OTHER}"
            first = (await get(path, params={"limit": 100})).json()
            assert len(reads) == 1 + buckets.MOST_READS == 1 + len(first["rows"])
            assert first["next_page"]
            assert await walk(get, path, 100) == sparse

    asyncio.run(check())


def test_a_walk_goes_on_while_messages_come_and_go(place: Place) -> None:
    ids = fill(place, [20_000 - 4 * n for n in range(40)])
    keyspace = place.settings.cassandra.keyspace

    def forget(each: str) -> None:
        bucket = (UUID(each).int >> 80) // DAY_MS // 10
        place.session.execute(f"DELETE FROM {keyspace}.messages_by_channel USING TIMESTAMP {2**60} WHERE channel_id = %s"
                              " AND bucket = %s AND message_id = %s", (CHANNEL, bucket, UUID(each)))  # fmt: skip
        place.session.execute(f"DELETE FROM {keyspace}.message_buckets_by_channel USING TIMESTAMP {2**60}"
                              " WHERE channel_id = %s AND bucket = %s", (CHANNEL, bucket))  # fmt: skip

    async def check() -> None:
        async with serving(place.settings) as get:
            first = (await get(PATH, params={"limit": 4})).json()
            found = [row["message_id"] for row in first["rows"]]
            assert found == ids[:4]
            # The bucket that the next page begins in has no row any more, and a newer message has come.
            gone = [each for each in ids[4:] if (UUID(each).int >> 80) // DAY_MS // 10 == 1998]
            assert gone
            for each in gone:
                await asyncio.to_thread(forget, each)
            await asyncio.to_thread(fill, place, [20_100])
            page = first["next_page"]
            while page:
                reply = (await get(PATH, params={"limit": 4, "page": page})).json()
                found += [row["message_id"] for row in reply["rows"]]
                page = reply["next_page"]
            assert found == [each for each in ids if each not in gone]

    asyncio.run(check())


def test_a_token_is_covered_by_the_rows_and_by_their_index(place: Place) -> None:
    fill(place, [20_000])
    place.cover(MESSAGES_BY_CHANNEL, 500)
    place.cover(MESSAGE_BUCKETS_BY_CHANNEL, 400)
    headers = {"Consistency-Token": str(Lsn(450)), "Prefer": "wait=0.2"}

    async def check() -> None:
        async with serving(place.settings) as get:
            assert (await get(PATH)).json()["covered_lsn"] == str(Lsn(400))
            assert refusal(await get(PATH, headers=headers), 503)["covered_lsn"] == str(Lsn(400))
            await asyncio.to_thread(place.cover, MESSAGE_BUCKETS_BY_CHANNEL, 450)
            assert (await get(PATH, headers=headers)).json()["covered_lsn"] == str(Lsn(450))

    asyncio.run(check())


def test_an_id_without_a_time_is_refused(place: Place) -> None:
    async def check() -> None:
        async with serving(place.settings) as get:
            for field in ("message_id", "message_id.lt"):
                found = refusal(await get(PATH, params={field: "8b1a9953-c461-4296-a827-abf8c47804d7"}), 422)
                assert found["field"] == "message_id"

    asyncio.run(check())


# Another team's: a timestamp itself, oldest first, the bucket first in the key, days before 1970 among them.
_day = days_bucket(VALUES.c.ts, 7)
WEEKS = ReadModel(
    name="weeks_of",
    select=select(VALUES.c.t, _day.label("week"), func.count().label("rows")).group_by(VALUES.c.t, _day),
    partition_key=("t",),
    clustering_key=("week",),
)
READINGS = ReadModel(
    name="readings",
    select=select(VALUES.c.t, _day.label("week"), VALUES.c.ts, VALUES.c.i),
    partition_key=("week", "t"),
    clustering_key=("ts", descending("i")),
    bucket=TimeBucket(column="week", of="ts", days=7, index=WEEKS),
)


def test_any_table_may_be_cut_by_a_timestamp(place: Place) -> None:
    random = Random(1)
    for model in (WEEKS, READINGS):
        place.session.execute(buckets_table(place, model))
    times = sorted({random.randrange(-40, 400) * DAY_MS * 1000 + random.randrange(DAY_MS * 1000) for _ in range(90)})
    weeks = [int(time // (DAY_MS * 1000) / 7) for time in times]  # toward zero, as Postgres divides
    place.insert(READINGS, [(week, "a", time, i) for week, time in zip(weeks, times, strict=True) for i in (2, 1)])
    place.insert(WEEKS, [("a", week, 1) for week in set(weeks)])

    async def check() -> None:
        async with serving(place.settings, [WEEKS, READINGS]) as get:
            shown = await walk(get, "/read/readings/a", 1000, column="ts")
            assert len(shown) == 2 * len(times)
            assert shown == sorted(shown)
            for limit in (1, 5):
                assert await walk(get, "/read/readings/a", limit, column="ts") == shown
                assert await walk(get, "/read/readings/a", limit, column="i") == [2, 1] * len(times)
                last = {"ts.gt": shown[60], "order": "reversed"}
                assert (
                    await walk(get, "/read/readings/a", limit, column="ts", **last)
                    == [t for t in shown if t > shown[60]][::-1]
                )
            early = [t for t in shown if t <= "1970-01-03"]
            assert early
            assert await walk(get, "/read/readings/a", 3, column="ts", **{"ts.lte": "1970-01-03T00:00:00"}) == early
            assert await walk(get, "/read/readings/a", 3, column="i", ts=shown[10]) == [2, 1]

    asyncio.run(check())


def buckets_table(place: Place, model: ReadModel) -> str:
    return cassandra_table(model, place.settings.cassandra.keyspace).create()
