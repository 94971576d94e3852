"""What of a feed has no copies is answered from Postgres, on the same pages, and a rebuild is asked for through its log."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import psycopg
import pytest

from command_api.lsn import Lsn
from command_api.process.settings import Postgres
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from read_api.instants import parse_timestamptz
from tests.integration.read_api.stand import Place, serving
from tests.integration.read_api.test_read_fallback_trouble import behind
from tests.integration.read_api.test_read_feed import READER, Feed, walk

COUNT = 30
AUTHOR = UUID(int=100)
_FILLING = """
    with u as (insert into users (user_id, name) values ('{reader}', 'Bob'), ('{author}', 'Ada')),
         f as (insert into follows (follower_id, followee_id) values ('{reader}', '{author}'))
    insert into posts (post_id, author_id, body, created_at)
    select ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '{author}', 'hello', timestamptz '2025-01-01' + i / 3 * interval '1 s'
    from generate_series(1, {count}) i
"""


@pytest.fixture
def slot(database: str) -> str:
    """A place in the log, from which the messages after it can be read."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create publication messages")
        connection.execute(
            "select pg_create_logical_replication_slot('messages_of_' || current_database(), 'pgoutput')"
        )
    return database


def asked(database: str) -> list[str]:
    """The requests for a rebuild that the log has so far: what follows the prefix, its zero and a length of four bytes."""
    query = """
        select convert_from(substring(data from position('lockstep.rebuild_partition'::bytea in data)
                                                + length('lockstep.rebuild_partition') + 1 + 4), 'UTF8')
        from pg_logical_slot_peek_binary_changes('messages_of_' || current_database(), null, null,
             'proto_version', '1', 'publication_names', 'messages', 'messages', 'true')
        where position('lockstep.rebuild_partition'::bytea in data) > 0
    """
    with psycopg.connect(database, autocommit=True) as connection:
        return [text for (text,) in connection.execute(query).fetchall()]


def wait_until_asked(database: str) -> None:
    """The request is sent beside the reply."""
    until = time.monotonic() + 10
    while not asked(database):
        assert time.monotonic() < until, "nobody has asked for a rebuild"
        time.sleep(0.05)  # the deadline is above; the log tells nobody


@pytest.fixture
def feed(place: Place, database: str) -> Feed:
    """Posts in Postgres; the read models cover them, and have none."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(_FILLING.format(reader=READER, author=AUTHOR, count=COUNT).encode())
        found = connection.execute("select created_at::text, post_id from posts").fetchall()
        position = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert position is not None
    made = Feed(place, HOME_TIMELINE)
    made.posts = [(parse_timestamptz(str(at).replace(" ", "T") + ":00"), UUID(str(post)).int, 0) for at, post in found]
    for model in (HOME_TIMELINE, POSTS_BY_AUTHOR, FOLLOWEES_BY_USER):
        place.cover(model, int(Lsn.parse(position[0])))
    return made


def test_a_skipped_reader_is_answered_by_postgres_which_is_asked_for_a_rebuild_once(
    feed: Feed, slot: str, postgres: Postgres
) -> None:
    feed.skip()

    async def run() -> None:
        async with serving(behind(feed.place, postgres)) as get:
            reply = await get(feed.path, params={"limit": 4})
            assert (reply.status_code, reply.json()["source"]) == (200, "postgres"), reply.text
            assert await walk(get, feed.path, 4) == feed.wanted()
            await asyncio.to_thread(wait_until_asked, slot)

    asyncio.run(run())
    assert asked(slot) == [f'{{"model":"home_timeline","keys":[["{READER}"]]}}']


def test_pages_go_on_in_postgres_where_the_copies_end(feed: Feed, slot: str, postgres: Postgres) -> None:
    """Of a feed as its cap leaves it; the walk begins on copies and ends in Postgres."""
    cap = 800
    newest = [(10**15 * 2 + n, n + 1, 0) for n in range(cap)]  # in 2033: Postgres has none of them
    feed.place.insert(HOME_TIMELINE, [(READER, at, UUID(int=n), AUTHOR, "Ada", None, "x", 0) for at, n, _ in newest])
    sources: list[str] = []

    async def run() -> list[str]:
        async with serving(behind(feed.place, postgres)) as get:

            async def noting(*arguments: Any, **named: Any) -> Any:
                reply = await get(*arguments, **named)
                sources.append(reply.json().get("source"))
                return reply

            return await walk(noting, feed.path, 90)

    found = asyncio.run(run())
    feed.posts += newest
    on_copies = cap // 90 * 90  # the ninth page would end below the cap
    assert found == [*feed.wanted()[:on_copies], *feed.wanted()[cap:]], "Postgres has not the copies of this test"
    assert sources == ["read-model"] * (on_copies // 90) + ["postgres"]
    assert asked(slot) == []
