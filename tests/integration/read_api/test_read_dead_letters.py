"""Reads of partitions that lack rows which Cassandra refuses: refused by name without Postgres, and only those."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from uuid import UUID

import pytest

from projections import READ_MODELS
from projections.cassandra_table import POSITIONS, write_timestamp
from projections.dead_letters import DEAD_LETTERS, create_dead_letters, partition_digest
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.messages import MESSAGE_BUCKETS_BY_CHANNEL, MESSAGES_BY_CHANNEL
from projections.read_model import ReadModel
from tests.integration.read_api.stand import BY_NUMBER, MODELS, ONE, Get, Place, refusal, serving
from tests.integration.read_api.test_read_feed import READER, Feed, author

CHANNEL, OTHER = UUID(int=1), UUID(int=2)


@dataclass(frozen=True)
class Marks:
    """Marks as a worker sets them, in a place that has none."""

    place: Place

    def set(self, model: ReadModel, partition: bytes, key: str, *, number: int = 1) -> None:
        """Mark a row; number: as the position has it."""
        keyspace, projection = self.place.settings.cassandra.keyspace, self.place.settings.projector.projection
        self.place.session.execute(
            f'INSERT INTO {keyspace}.{DEAD_LETTERS} (projection, read_model, "partition", "row", key, reason, lsn, since)'
            " VALUES (%s, %s, %s, %s, %s, 'too large', 77, 5)",
            (projection, model.name, partition_digest([partition]), key, key),
        )
        self.place.cover(model, 100)
        self.place.session.execute(
            f"INSERT INTO {keyspace}.{POSITIONS} (projection, read_model, shard, dead_letters) VALUES (%s, %s, 0, %s)"
            f" USING TIMESTAMP {write_timestamp(1, 100)}",
            (projection, model.name, number),
        )


@pytest.fixture
def marks(place: Place) -> Marks:
    place.session.execute(create_dead_letters(place.settings.cassandra.keyspace))
    return Marks(place)


async def lacking(get: Get, path: str) -> list[dict[str, object]]:
    """What a refused read names."""
    problem = refusal(await get(path), 503)
    assert problem["type"] == "urn:lockstep:problem:lacks-rows"
    found: list[dict[str, object]] = problem["dead_letters"]
    return found


async def whole(get: Get, path: str) -> None:
    reply = await get(path)
    assert (reply.status_code, reply.json().get("source")) == (200, "read-model"), reply.text
    assert "dead_letters" not in reply.json()


def test_a_partition_that_lacks_a_row_is_not_answered_and_its_neighbours_are(place: Place, marks: Marks) -> None:
    place.insert(BY_NUMBER, [(1, 2, "here"), (2, 2, "here")])
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 100)
    marks.set(BY_NUMBER, (1).to_bytes(8, "big"), '[1,3,"gone"]')

    async def read() -> None:
        async with serving(place.settings) as get:
            assert await lacking(get, "/read/by_number/1") == [
                {
                    "read_model": "by_number",
                    "key": {"b": 1, "i": 3, "t": "gone"},
                    "reason": "too large",
                    "lsn": "0/4D",
                }
            ]
            await whole(get, "/read/by_number/2")
            await whole(get, "/read/one/a")
            freshness = (await get("/freshness")).json()["read_models"]
            assert (freshness["by_number"]["dead_letters"], freshness["one"]["dead_letters"]) == (1, 0)

    asyncio.run(read())


def test_marks_are_looked_for_only_beside_a_position_that_tells_of_some(place: Place, marks: Marks) -> None:
    place.insert(BY_NUMBER, [(1, 2, "here")])
    marks.set(BY_NUMBER, (1).to_bytes(8, "big"), '[1,3,"gone"]', number=0)

    async def read() -> None:
        async with serving(place.settings) as get:
            await whole(get, "/read/by_number/1")

    asyncio.run(read())


@pytest.mark.parametrize("model", [MESSAGES_BY_CHANNEL, MESSAGE_BUCKETS_BY_CHANNEL])
def test_all_buckets_of_a_channel_are_one_partition_and_its_index_counts(
    place: Place, marks: Marks, model: ReadModel
) -> None:
    for each in (MESSAGES_BY_CHANNEL, MESSAGE_BUCKETS_BY_CHANNEL):
        place.cover(each, 100)
    marks.set(model, CHANNEL.bytes, json.dumps([str(CHANNEL), 5, str(OTHER)][: len(model.key)]))

    async def read() -> None:
        async with serving(place.settings) as get:
            assert len(await lacking(get, f"/read/messages_by_channel/{CHANNEL}")) == 1
            await whole(get, f"/read/messages_by_channel/{OTHER}")

    asyncio.run(read())


@pytest.mark.parametrize(
    ("model", "partition", "lacks"),
    [
        (HOME_TIMELINE, READER, True),
        (HOME_TIMELINE, author(1), False),
        (FOLLOWEES_BY_USER, READER, True),
        (POSTS_BY_AUTHOR, author(1), True),
        (POSTS_BY_AUTHOR, author(2), False),
        (POSTS_BY_AUTHOR, author(3), False),
    ],
)
def test_a_feed_is_asked_for_its_reader_and_for_the_hot_authors_who_are_merged(
    place: Place, marks: Marks, model: ReadModel, partition: UUID, lacks: bool
) -> None:
    feed = Feed(place, HOME_TIMELINE)
    feed.create()
    feed.follow(1, 2)
    feed.flag(1, 3)  # hot: one that is followed, and one that is not; the second followed one is copied
    feed.post([(5, 1, 1)], copied=False)
    key = [str(partition), *(str(OTHER) for _ in model.key[1:])]
    marks.set(model, partition.bytes, json.dumps(key))

    async def read() -> None:
        async with serving(place.settings, (*MODELS, *READ_MODELS)) as get:
            if lacks:
                assert len(await lacking(get, feed.path)) == 1
            else:
                await whole(get, feed.path)

    asyncio.run(read())
