"""A feed, a read model in time buckets and a scheduled one, as three releases declare them; and how tests read them.

FIRST      the feed and what is merged into it, messages, and a report on a schedule
WIDER      the feed and what is merged into it with one column more: additive
LATER      the feed and the messages with another condition: other generations
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
from sqlalchemy import func, select

from command_api.lsn import Lsn
from command_api.tables import follows, posts, users
from projections import MESSAGE_BUCKETS_BY_CHANNEL, MESSAGES_BY_CHANNEL
from projections.fan_out import Active, FanOut
from projections.read_model import ReadModel, descending
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline

THRESHOLD = 4
_NEWEST_FIRST = (descending("created_at"), "post_id")

FOLLOWING = ReadModel(
    name="following",
    select=select(follows.c.follower_id.label("user_id"), follows.c.followee_id.label("author_id")),
    partition_key=("user_id",),
    clustering_key=("author_id",),
)
REPORT = ReadModel(
    name="report",
    select=select(posts.c.author_id, func.max(posts.c.body).label("body")).group_by(posts.c.author_id),
    partition_key=("author_id",),
    refresh="1d",
)


def _feed(*more: str, bare: bool) -> tuple[ReadModel, ReadModel]:
    """The feed and its pull. more: columns of posts beyond the usual ones. bare: posts without a text count too."""
    columns = [posts.c[name] for name in ("created_at", "post_id", "author_id", "body", *more)]
    pull = ReadModel(name="pull", select=select(*columns), partition_key=("author_id",), clustering_key=_NEWEST_FIRST)
    feed = select(follows.c.follower_id.label("user_id"), *columns).join(
        posts, posts.c.author_id == follows.c.followee_id
    )
    if not bare:
        pull = replace(pull, select=pull.select.where(posts.c.body != ""))
        feed = feed.where(posts.c.body != "")
    policy = FanOut(
        author="author_id",
        edges=follows,
        edge_reader="follower_id",
        edge_author="followee_id",
        threshold=THRESHOLD,
        pull=pull,
        following=FOLLOWING,
        active=Active(table=users, reader="user_id", seen="last_seen_at", within=timedelta(days=7)),
        cap=40,
    )
    model = ReadModel(
        name="feed", select=feed, partition_key=("user_id",), clustering_key=_NEWEST_FIRST, fan_out=policy
    )
    return model, pull


def _messages(text: str) -> tuple[ReadModel, ReadModel]:
    """The messages with another text than this one, and the index of their buckets."""
    body = MESSAGES_BY_CHANNEL.select.selected_columns["body"]
    index = replace(MESSAGE_BUCKETS_BY_CHANNEL, select=MESSAGE_BUCKETS_BY_CHANNEL.select.where(body != text))
    bucket = MESSAGES_BY_CHANNEL.bucket
    assert bucket is not None
    return (
        replace(
            MESSAGES_BY_CHANNEL,
            select=MESSAGES_BY_CHANNEL.select.where(body != text),
            bucket=replace(bucket, index=index),
        ),
        index,
    )


FEED, PULL = _feed(bare=True)
FIRST = (FEED, PULL, FOLLOWING, MESSAGES_BY_CHANNEL, MESSAGE_BUCKETS_BY_CHANNEL, REPORT)
WIDER = (*_feed("version", bare=True), *FIRST[2:])
LATER = (*_feed("version", bare=False), FOLLOWING, *_messages(""), REPORT)
CHANGED = tuple(model.name for model in (FEED, PULL, MESSAGES_BY_CHANNEL, MESSAGE_BUCKETS_BY_CHANNEL))
"""What LATER declares otherwise than WIDER."""


def releasing(pipeline: Pipeline, release: str) -> None:
    """Have the pipeline's next processes declare a release, an attribute of this module."""
    names = {"read_models": f"tests.e2e.feed_releases:{release}"}
    reads = names | {"fallback_connections": 4, "wait_ms": 20_000}
    pipeline.settings = pipeline.with_settings(projector=names, read_api=reads)


class Town:
    """Postgres with two authors and who follows them: the star is above the threshold, the other one below."""

    star, other = UUID(int=101), UUID(int=102)
    both, fan, away, gone = (UUID(int=n) for n in (1, 2, 3, 4))
    """Readers: of both authors and of the star alone; and two of both authors whom nobody has seen for long."""

    def __init__(self, pipeline: Pipeline, *, posts: int = 5) -> None:
        self.conninfo = pipeline.settings.postgres.admin.get_secret_value()
        self.connection: psycopg.Connection[Any] = psycopg.connect(self.conninfo, autocommit=True)
        self._number = 0
        people = {self.star: 0, self.other: 0, self.both: 0, self.fan: 0, self.away: 30, self.gone: 30}
        for person, days in people.items():
            self.run(
                "insert into users (user_id, name, last_seen_at) values (%s, %s, now() - %s * interval '1 day')",
                *(person, f"u{person.int}", days),
            )
        for reader in (self.both, self.fan, self.away, self.gone):
            for author in (self.star,) if reader == self.fan else (self.star, self.other):
                self.run("insert into follows (follower_id, followee_id) values (%s, %s)", reader, author)
        for author in (self.star, self.other):
            for _ in range(posts):
                self.post(author)

    def run(self, sql: str, *values: Any) -> None:
        """One statement, by itself."""
        self.connection.execute(sql.encode(), values)

    def post(self, author: UUID, body: str = "plain") -> UUID:
        """A post, later than all before it; its id."""
        self._number += 1
        made = UUID(int=1_000 + self._number)
        self.run(
            "insert into posts (post_id, author_id, body, created_at) values (%s, %s, %s,"
            " timestamptz '2026-01-01' + %s * interval '1 minute')",
            *(made, author, body, self._number),
        )
        return made

    def feed(self, reader: UUID, *, bare: bool = True) -> list[str]:
        """The ids that a reader's feed is to have."""
        query = (
            "select post_id::text from follows join posts on author_id = followee_id where follower_id = %s"
            " and (%s or body <> '') order by created_at desc, post_id"
        )
        return [post for (post,) in self.connection.execute(query, (reader, bare))]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A reply to a read, all its pages. sources: where they came from. dead_letters: the read models that lack rows."""

    rows: list[dict[str, Any]]
    sources: set[str]
    dead_letters: set[str]

    @property
    def posts(self) -> list[str]:
        """The ids of the posts in it."""
        return [row["post_id"] for row in self.rows]


def read(url: str, path: str, conninfo: str, limit: int = 4) -> Told:
    """What a partition has, page by page, as of all that has committed."""
    rows, sources, letters = list[dict[str, Any]](), set[str](), set[str]()
    page: dict[str, str] = {}
    token = str(Lsn(compare.flushed(conninfo)))
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while True:
            reply = client.get(
                f"/read/{path}", params={"limit": str(limit), **page}, headers={"Consistency-Token": token}
            )
            assert reply.status_code == 200, reply.text
            body = reply.json()
            rows += body["rows"]
            sources.add(body["source"])
            letters |= {letter["read_model"] for letter in body.get("dead_letters", ())}
            if body["next_page"] is None:
                return Told(rows=rows, sources=sources, dead_letters=letters)
            page = {"page": body["next_page"]}
