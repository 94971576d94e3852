"""An author crosses the threshold both ways on the whole path, while posts, follows and unfollows go on and workers die.

A follower reads all the time: what was there before and stays there is in every reply, whatever is being copied or taken
away. In the end every timeline equals its SQL page by page, and `projector verify` finds nothing.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.fan_out import hot_table
from tests.e2e import compare
from tests.e2e.feeds import READ_MODELS, THRESHOLD, TIMELINE
from tests.e2e.pipeline import Pipeline, Process, listening, wait_for
from tests.e2e.test_fan_out import metrics
from tests.integration.verification import Damage, verify

USERS, POSTS = 100, 20
STAR, READER = UUID(int=1), UUID(int=2)
UNDER_WAY = f"projection_feed_flips_under_way {TIMELINE.name}"


class Source:
    """Postgres with a power-law of followers: of the n-th author there are about USERS / n."""

    def __init__(self, conninfo: str, rng: Random) -> None:
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self._rng = rng
        self._number = 0

    def fill(self) -> None:
        """Users, edges, posts; of the star as many followers as leave it below the threshold."""
        with self.connection.transaction():
            for n in range(1, USERS + 1):
                self.run("insert into users (user_id, name, last_seen_at) values (%s, %s, now())", UUID(int=n), f"u{n}")
            for author in range(2, 20):
                self.follow(UUID(int=author), USERS // (2 * author))
            self.run("insert into follows (follower_id, followee_id) values (%s, %s)", READER, STAR)
            self.follow(STAR, THRESHOLD - 5)
        for n in range(POSTS):
            self.post(STAR)
            self.post(UUID(int=2 + n % 18))

    def run(self, sql: str, *values: Any) -> int:
        return self.connection.execute(sql.encode(), values).rowcount

    def follow(self, author: UUID, count: int) -> None:
        """So many more followers, as far as there are users; one transaction."""
        self.run(
            "insert into follows (follower_id, followee_id) select user_id, %s from users where user_id <> %s and user_id"
            " not in (select follower_id from follows where followee_id = %s) order by md5(user_id::text || %s) limit %s",
            *(author, author, author, str(self._rng.random()), count),
        )

    def unfollow(self, author: UUID, count: int) -> None:
        """So many fewer, never the reader."""
        self.run(
            "delete from follows where followee_id = %s and follower_id in (select follower_id from follows where"
            " followee_id = %s and follower_id <> %s order by md5(follower_id::text || %s) limit %s)",
            *(author, author, READER, str(self._rng.random()), count),
        )

    def resize(self, author: UUID, followers: int) -> None:
        """So many followers in all, in one transaction."""
        row = self.connection.execute("select count(*) from follows where followee_id = %s", (author,)).fetchone()
        assert row is not None
        more = followers - row[0]
        self.follow(author, max(more, 0))
        self.unfollow(author, max(-more, 0))

    def post(self, author: UUID) -> None:
        self._number += 1
        self.run(
            "insert into posts (post_id, author_id, body, created_at)"
            " values (%s, %s, %s, timestamptz '2026-01-01' + %s * interval '1 minute')",
            *(UUID(int=self._rng.getrandbits(128), version=4), author, f"post {self._number}", self._number // 2),
        )

    def anything(self) -> None:
        """A small transaction about anybody: it leaves the star's old posts and the reader's following alone."""
        author = UUID(int=self._rng.randrange(1, 20))
        roll = self._rng.random()
        if roll < 0.3:
            self.post(author)
        elif roll < 0.5:
            self.follow(author, 1)
        elif roll < 0.7:
            self.unfollow(author, 1)
        elif roll < 0.8:
            self.run("update users set name = %s where user_id = %s", f"n{self._rng.random()}", author)
        elif roll < 0.9:
            self.run(
                "delete from posts where post_id = (select post_id from posts where author_id <> %s limit 1)", STAR
            )
        else:
            self.run(
                "insert into likes (post_id, user_id) select post_id, %s from posts order by random() limit 1"
                " on conflict do nothing",
                author,
            )


class Watcher(threading.Thread):
    """Reads the reader's timeline again and again; `missing` is the first reply without a post that was always there."""

    def __init__(self, url: str, posts: frozenset[str], rng: Random) -> None:
        super().__init__(name="watcher", daemon=True)
        self.ending = threading.Event()
        self.replies = 0
        self.missing: str | None = None
        self._url, self._posts, self._rng = url, posts, rng

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self.ending.is_set() and self.missing is None:
                try:
                    rows = timeline(client, READER, self._rng.choice((7, 50, 1000)))
                except BaseException as error:
                    self.missing = repr(error)
                    return
                gone = self._posts - {row["post_id"] for row in rows}
                self.replies += 1
                if gone:
                    self.missing = f"reply {self.replies} has not {sorted(gone)}"


def timeline(client: httpx.Client, reader: UUID, limit: int, token: str | None = None) -> list[dict[str, Any]]:
    """All pages."""
    rows: list[dict[str, Any]] = []
    page: dict[str, str] = {}
    headers = {"Consistency-Token": token} if token else {}
    while True:
        path = f"/read/{TIMELINE.name}/{reader}"
        reply = client.get(path, params={"limit": str(limit), **page}, headers=headers)
        assert reply.status_code == 200, reply.text
        assert reply.json()["source"] == "read-model"
        rows += reply.json()["rows"]
        if reply.json()["next_page"] is None:
            return rows
        page = {"page": reply.json()["next_page"]}


@contextmanager
def watching(url: str, posts: frozenset[str], rng: Random) -> Iterator[Watcher]:
    watcher = Watcher(url, posts, rng)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.ending.set()
        watcher.join(30)
    assert watcher.missing is None, watcher.missing
    assert watcher.replies > 20, watcher.replies


def damage(done: Damage, session: Session, keyspace: str) -> set[str]:
    """A copy is lost, one has another text, and one of a hot author is there: their keys, as a report has them."""
    query = f"SELECT user_id, created_at, post_id, writetime(body) AS written FROM {keyspace}.{TIMELINE.name} LIMIT 2"
    lost, wrong = session.execute(query)
    whole = next(iter(session.execute(f"SELECT * FROM {keyspace}.{TIMELINE.name} LIMIT 1")))
    done.remove(lost)
    done.set_cell(wrong, "body", "another text")
    done.insert(whole, timestamp=done.now(), post_id=UUID(int=99), author_id=STAR)
    return done.done


@pytest.fixture
def seed() -> int:
    return secrets.randbits(32)


@pytest.fixture
def source(pipeline: Pipeline, seed: int) -> Iterator[Source]:
    made = Source(pipeline.settings.postgres.admin.get_secret_value(), Random(seed))
    yield made
    made.connection.close()


@pytest.mark.timeout(400)
def test_an_author_crosses_the_threshold_both_ways(
    pipeline: Pipeline, cassandra_session: Session, source: Source, seed: int
) -> None:
    rng = Random(seed)
    pipeline.settings = settings = pipeline.with_settings(
        projector={
            "read_models": "tests.e2e.feeds:READ_MODELS",
            "put_aside_above": 100,
            "slice_keys": 1,
            "slice_share": 0.3,
        },
        read_api={"read_models": "tests.e2e.feeds:READ_MODELS"},
    )
    slow = pipeline.with_settings(projector={"slice_share": 0.02})  # a flip takes seconds, and is met under way
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    admin = settings.postgres.admin.get_secret_value()
    pipeline.set_up()
    source.fill()
    stay = frozenset(
        str(post)
        for (post,) in source.connection.execute("select post_id from posts where author_id = %s", (STAR,)).fetchall()
    )

    def cover() -> None:
        flushed = compare.flushed(admin)
        compare.wait_covered(
            cassandra_session, keyspace, projection, READ_MODELS, flushed, seconds=90, pipeline=pipeline
        )

    def hot() -> set[UUID]:
        return {
            row.author for row in cassandra_session.execute(f"SELECT author FROM {keyspace}.{hot_table(TIMELINE.name)}")
        }

    def reading(of: Settings) -> Process:
        worker = pipeline.start("projector", settings=of)
        wait_for("the worker reads", lambda: "reading the log" in worker.said(), 30, worker.tail)
        return worker

    def flipped(worker: Process, followers: int) -> Process:
        """The star gets so many followers; the worker is killed while the flip's copies are worked off, another goes on."""
        assert worker.stop() == 0, worker.tail()
        worker = reading(slow)
        source.resize(STAR, followers)
        wait_for("a flip is under way", lambda: metrics(worker).get(UNDER_WAY, 0) > 0, 30, worker.tail)
        worker.kill()
        for _ in range(10):
            source.anything()
        return reading(settings)

    with pipeline.running("relay", "read-api") as (_, reads):
        url = listening(reads)
        worker = reading(settings)
        cover()
        assert not hot()
        with watching(url, stay, rng), httpx.Client(base_url=url, timeout=20) as client:
            for _ in range(2):
                worker = flipped(worker, 2 * THRESHOLD)
                cover()
                assert STAR in hot(), f"seed {seed}"
                copied = cassandra_session.execute(f"SELECT author_id FROM {keyspace}.{TIMELINE.name}")
                assert STAR not in {row.author_id for row in copied}, f"seed {seed}: copies of a hot author"
                worker = flipped(worker, THRESHOLD // 2)
                cover()
                assert STAR not in hot(), f"seed {seed}"
            source.resize(STAR, 2 * THRESHOLD)
            for _ in range(100):
                source.anything()
            cover()
            wanted = compare.in_postgres(admin, TIMELINE)
            for reader in {key[0] for key in wanted}:
                rows = timeline(client, UUID(reader), rng.randrange(1, 60))
                have = [(row["post_id"], row["author_name"], row["body"], row["like_count"]) for row in rows]
                names = [name for name in TIMELINE.columns if name not in TIMELINE.key]
                want = [
                    (key[2], *(dict(zip(names, row, strict=True))[n] for n in ("author_name", "body", "like_count")))
                    for key, row in sorted(wanted.items(), key=lambda item: (-item[0][1], item[0][2]))
                    if key[0] == reader
                ]
                assert have == want, f"seed {seed}: {reader}"
            outcome = verify(pipeline, "--all")
            assert outcome.status == 0, outcome.said
            damaged = damage(Damage(cassandra_session, pipeline, TIMELINE), cassandra_session, keyspace)
            outcome = verify(pipeline, TIMELINE.name, "--json", "--repair")
            assert outcome.status == 1, outcome.said
            assert outcome.keys(TIMELINE.name) == damaged, outcome.said
            outcome = verify(pipeline, "--all")
            assert outcome.status == 0, outcome.said
        assert worker.stop() == 0, worker.tail()
