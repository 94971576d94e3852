"""Feeds on the whole path: readers whom nobody has seen get no copies and are read right all the same; caps hold.

The worker is killed again and again meanwhile.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from random import Random
from typing import Any

import httpx
import psycopg
import pytest
from cassandra.cluster import Session
from sqlalchemy import func, select

from command_api.lsn import Lsn
from command_api.process.settings import ReadApi, Settings
from command_api.tables import follows, likes, posts, users
from projections.fan_out import Active, FanOut, skipped_table
from projections.read_model import ReadModel, descending
from projector.feeds.cap import slack_of
from tests.e2e import compare
from tests.e2e.feed_releases import FOLLOWING
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.e2e.test_fan_out import execute, metrics

CAP = 40
_POST = (
    posts.c.created_at,
    posts.c.post_id,
    posts.c.author_id,
    posts.c.body,
    select(func.count()).where(likes.c.post_id == posts.c.post_id).scalar_subquery().label("like_count"),
)
_NEWEST_FIRST = (descending("created_at"), "post_id")
PULL = ReadModel(name="pull", select=select(*_POST), partition_key=("author_id",), clustering_key=_NEWEST_FIRST)
FEED = ReadModel(
    name="feed",
    select=select(follows.c.follower_id.label("user_id"), *_POST).join(
        posts, posts.c.author_id == follows.c.followee_id
    ),
    partition_key=("user_id",),
    clustering_key=_NEWEST_FIRST,
    fan_out=FanOut(
        author="author_id",
        edges=follows,
        edge_reader="follower_id",
        edge_author="followee_id",
        threshold=100_000,
        pull=PULL,
        following=FOLLOWING,
        active=Active(table=users, reader="user_id", seen="last_seen_at", within=timedelta(days=7)),
        cap=CAP,
    ),
)
MODELS = (FEED, PULL, FOLLOWING)
AUTHORS = [uuid.UUID(int=n) for n in (101, 102, 103)]


class Town:
    """Readers and authors of one test, and what Cassandra and Postgres have of the feed."""

    def __init__(self, pipeline: Pipeline, session: Session) -> None:
        names = {"read_models": "tests.e2e.test_inactive_and_cap:MODELS"}
        fallback = ReadApi().fallback_connections
        self.settings: Settings = pipeline.with_settings(
            projector=names, read_api=names | {"fallback_connections": fallback}
        )
        pipeline.settings = self.settings
        self._pipeline, self._session = pipeline, session
        self.keyspace = self.settings.cassandra.keyspace
        self.admin = self.settings.postgres.admin.get_secret_value()
        pipeline.set_up()

    def people(self, readers: dict[uuid.UUID, str]) -> None:
        """Authors, and readers who follow them all; readers: the SQL of when each was last seen."""
        for author in AUTHORS:
            execute(self.settings, "insert into users (user_id, name) values (%s, 'a')", author)
        for reader, seen in readers.items():
            execute(self.settings, f"insert into users (user_id, name, last_seen_at) values (%s, 'r', {seen})", reader)
            for author in AUTHORS:
                execute(self.settings, "insert into follows (follower_id, followee_id) values (%s, %s)", reader, author)

    def cover(self, lsn: int, seconds: float = 60) -> None:
        projection = self.settings.projector.projection
        compare.wait_covered(
            self._session, self.keyspace, projection, MODELS, lsn, seconds=seconds, pipeline=self._pipeline
        )

    def copies(self) -> dict[Any, list[Any]]:
        """Rows of each reader, newest first."""
        return by_reader(compare.in_cassandra(self._session, self.keyspace, FEED))

    def wanted(self) -> dict[Any, list[Any]]:
        """What the SQL gives."""
        return by_reader(compare.all_in_postgres(self.admin, (FEED,))[FEED.name])

    def marked(self) -> set[str]:
        rows = self._session.execute(f'SELECT reader FROM "{self.keyspace}"."{skipped_table(FEED.name)}"')
        return {str(row.reader) for row in rows}


def by_reader(rows: compare.Rows) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key in sorted(rows, key=lambda k: (-k[1], k[2])):
        found.setdefault(key[0], []).append((*key[1:], *rows[key]))
    return found


def post(settings: Settings, rng: Random) -> int:
    """A post of a random author: a position that shows it."""
    return execute(
        settings,
        "insert into posts (post_id, author_id, body) values (gen_random_uuid(), %s, 'hello')",
        rng.choice(AUTHORS),
    )


@pytest.mark.timeout(300)
def test_an_inactive_readers_feed_is_right_at_once_and_written_behind_it(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    town, rng = Town(pipeline, cassandra_session), Random(5)
    settings = town.settings
    here, away, never, back = (uuid.UUID(int=n) for n in (1, 2, 3, 4))
    town.people({here: "now()", away: "now() - interval '30 days'", never: "null", back: "now() - interval '8 days'"})
    for _ in range(30):
        posted = post(settings, rng)
    with pipeline.running("relay", "read-api") as (_, reads):
        worker = pipeline.start("projector", settings=settings)
        town.cover(posted)
        assert town.marked() == {*map(str, (away, never, back)), *map(str, AUTHORS)}, "authors were never seen either"
        assert town.copies() == {str(here): town.wanted()[str(here)]}, "who is away has no copies"
        assert metrics(worker)["projection_skipped_writes_total feed"] >= 90

        with httpx.Client(base_url=listening(reads), timeout=30) as client:
            for turn in range(3):  # killed at any moment of the rebuild
                posted = post(settings, rng)
                began = time.monotonic()
                token = {"Consistency-Token": str(Lsn(posted))}
                reply = client.get(f"/read/feed/{away}?limit=100", headers=token).json()
                assert time.monotonic() - began < 5, "nobody waits for the rebuild"
                assert [row["post_id"] for row in reply["rows"]] == [row[1] for row in town.wanted()[str(away)]], reply
                if turn == 0:
                    assert reply["source"] == "postgres"
                time.sleep(rng.random() / 5)  # any moment of the rebuild will do
                worker.kill()
                worker = pipeline.start("projector", settings=settings)
            wait_for("the mark goes", lambda: str(away) not in town.marked(), 30, worker.tail)
            town.cover(posted)
            assert town.copies()[str(away)] == town.wanted()[str(away)], "the rebuild was whole before the mark went"
            wait_for(
                "the read model answers",
                lambda: client.get(f"/read/feed/{away}?limit=10").json()["source"] == "read-model",
                10,
            )

        seen = execute(settings, "update users set last_seen_at = now() where user_id = %s", back)
        town.cover(seen)
        wait_for("a heartbeat wakes", lambda: str(back) not in town.marked(), 20, worker.tail)
        posted = post(settings, rng)
        execute(settings, "delete from posts where post_id = (select min(post_id::text)::uuid from posts)")
        posted = execute(settings, "delete from follows where follower_id = %s and followee_id = %s", back, AUTHORS[0])
        town.cover(posted)
        wanted = town.wanted()
        assert town.copies() == {str(reader): wanted[str(reader)] for reader in (here, away, back)}
        assert town.marked() == {str(never), *map(str, AUTHORS)}
        pipeline.run("projector", "verify", "--all", seconds=120)
        assert worker.stop() == 0, worker.tail()


@pytest.mark.timeout(300)
def test_a_feed_keeps_its_newest_whatever_is_taken_away_and_whoever_dies(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    town, rng = Town(pipeline, cassandra_session), Random(6)
    settings = town.settings
    readers = [uuid.UUID(int=n) for n in range(1, 9)]
    town.people(dict.fromkeys(readers, "now()"))
    trims = 0.0
    with pipeline.running("relay"):
        worker = pipeline.start("projector", settings=settings)
        for turn in range(6):
            with psycopg.connect(town.admin, autocommit=True) as connection:
                for _ in range(45):
                    connection.execute(
                        "insert into posts (post_id, author_id, body) values (gen_random_uuid(), %s, 'hello')",
                        (rng.choice(AUTHORS),),
                    )
                    if rng.random() < 0.2:
                        newest = "select post_id from posts order by created_at desc limit 2"
                        connection.execute(f"delete from posts where post_id in ({newest})")
                    if rng.random() < 0.1:
                        edge = (rng.choice(readers), rng.choice(AUTHORS))
                        connection.execute("delete from follows where follower_id = %s and followee_id = %s", edge)
                        connection.execute("insert into follows (follower_id, followee_id) values (%s, %s)", edge)
            if turn % 2:
                town.cover(compare.flushed(town.admin))
                trims += metrics(worker).get("projection_trims_total feed", 0)
                worker.kill()
                worker = pipeline.start("projector", settings=settings)
        lost = execute(
            settings, "delete from follows where follower_id = %s and followee_id = %s", readers[0], AUTHORS[0]
        )
        town.cover(lost)
        wanted, there = town.wanted(), town.copies()
        assert max(map(len, wanted.values())) > CAP + slack_of(CAP), "there is something to trim"
        for reader in map(str, readers):
            assert there[reader][:CAP] == wanted[reader][:CAP]
            assert set(there[reader]) <= set(wanted[reader])
        before = compare.flushed(town.admin)
        execute(settings, "insert into users (user_id, name) values (gen_random_uuid(), 'somebody')")
        town.cover(before)
        wait_for(
            "no partition is over its cap and slack",
            lambda: max(map(len, town.copies().values())) <= CAP + slack_of(CAP),
            20,
            lambda: str({reader: len(rows) for reader, rows in town.copies().items()}),
        )
        assert trims + metrics(worker)["projection_trims_total feed"] > 0
        pipeline.run("projector", "verify", "--all", seconds=120)
        assert worker.stop() == 0, worker.tail()
