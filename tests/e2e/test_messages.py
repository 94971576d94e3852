"""A channel's messages over years: what is edited, deleted or renamed shows in every bucket, what retention drops in none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from cassandra.cluster import Session

import projections
from command_api import months
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline
from tests.e2e.shop import Shop, opened
from tests.integration.test_commands_messages import id_at

COUNT = 60
FIRST = date(2024, 1, 1)


@pytest.fixture
def shop(pipeline: Pipeline) -> Iterator[Shop]:
    with opened(pipeline) as found:
        yield found


@pytest.fixture
def admin(pipeline: Pipeline) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        yield connection


def fill(admin: psycopg.Connection[Any], channel: str, authors: list[str]) -> list[str]:
    """Messages of four months, of every bucket but some; returns their ids, newest first."""
    for n in range(5):
        months.create(admin, months.month_after(FIRST, n))
    start = datetime(2024, 1, 1, 12, tzinfo=UTC)
    days = [day for n in range(COUNT) if (day := 2 * n) // 10 not in (4, 8)]
    ids = [id_at(start + timedelta(days=day), n) for n, day in enumerate(days)]
    with admin.transaction():
        for n, each in enumerate(ids):
            admin.execute(
                "insert into messages (message_id, sent_at, channel_id, author_id, body)"
                " values (%s, uuid_extract_timestamp(%s), %s, %s, %s)",
                (each, each, channel, authors[n % 2], f"message {n}"),
            )
    return ids[::-1]


def walk(shop: Shop, channel: str, limit: int, **parameters: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    page: dict[str, str] = {}
    while True:
        reply = shop.reads.get(
            f"/read/messages_by_channel/{channel}",
            params={"limit": str(limit), **parameters, **page},
            headers={"Consistency-Token": shop.token},
        )
        assert reply.status_code == 200, reply.text
        rows += reply.json()["rows"]
        if reply.json()["next_page"] is None:
            return rows
        page = {"page": reply.json()["next_page"]}


def by_sql(admin: psycopg.Connection[Any], channel: str) -> list[tuple[Any, ...]]:
    query = (
        "select message_id::text, name, avatar_url, body from messages join users on user_id = author_id"
        " where channel_id = %s order by message_id desc"
    )
    return admin.execute(query, (channel,)).fetchall()


def shown(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("message_id", "author_name", "avatar_url", "body")) for row in rows]


@pytest.mark.timeout(180)
def test_every_bucket_follows_and_months_go(
    shop: Shop, admin: psycopg.Connection[Any], pipeline: Pipeline, cassandra_session: Session
) -> None:
    conninfo = pipeline.settings.postgres.admin.get_secret_value()
    ada, bob = (shop.made("user", "/users", name=name) for name in ("Ada", "Bob"))
    channel, other = (shop.made("channel", "/channels", name=name) for name in ("general", "other"))
    ids = fill(admin, channel, [ada, bob])
    now = shop.made("message", "/messages", channel_id=channel, author_id=ada, body="now")
    shop.made("message", "/messages", channel_id=other, author_id=bob, body="elsewhere")
    for limit in (1, 7, 1000):
        rows = walk(shop, channel, limit)
        assert [row["message_id"] for row in rows] == [now, *ids]
        assert shown(rows) == by_sql(admin, channel)
    assert len({row["bucket"] for row in rows}) > 8

    # A rename reaches all buckets, an edit and a delete theirs.
    shop.send("PUT", f"/users/{ada}/name", {"name": "Ada L."})
    shop.send("PUT", f"/users/{bob}/avatar", {"avatar_url": "https://pictures.example/bob.png"})
    edited, deleted, oldest = ids[0], ids[20], ids[-1]
    shop.send("PUT", f"/messages/{edited}/body", {"body": "another text"})
    shop.send("PUT", f"/messages/{oldest}/body", {"body": "the first text"})
    shop.send("DELETE", f"/messages/{deleted}")
    rows = walk(shop, channel, 7)
    assert shown(rows) == by_sql(admin, channel)
    texts = {row["message_id"]: row["body"] for row in rows}
    assert (texts[edited], texts[oldest]) == ("another text", "the first text")
    assert deleted not in texts
    assert {row["author_name"] for row in rows} == {"Ada L.", "Bob"}
    before = walk(shop, channel, 4, **{"message_id.lt": edited})
    assert [row["message_id"] for row in before] == [each for each in ids[1:] if each != deleted]

    # What retention lets go leaves the read model and the index of its buckets.
    kept = months.keep(conninfo, ahead=1, months=1, batch=10, today=date(2024, 4, 15))
    assert kept.dropped == (date(2024, 1, 1), date(2024, 2, 1))
    assert kept.deleted == 25
    shop.send("PUT", f"/messages/{now}/body", {"body": "later"})  # its token is after the deletes
    rows = walk(shop, channel, 7)
    assert len(rows) == 1 + len(ids) - 1 - kept.deleted
    assert shown(rows) == by_sql(admin, channel)
    held = {row["bucket"] for row in shop.rows(f"message_buckets_by_channel/{channel}")}
    assert held == {row["bucket"] for row in rows}

    settings = pipeline.settings
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    compare.wait_covered(
        cassandra_session,
        keyspace,
        projection,
        projections.INCREMENTAL,
        compare.flushed(conninfo),
        seconds=60,
        pipeline=pipeline,
    )
    compare.assert_equal(cassandra_session, keyspace, conninfo, projections.INCREMENTAL, "after the test")
