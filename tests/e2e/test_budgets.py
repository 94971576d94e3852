"""A storm of likes on the whole path: what it costs, that it comes out exact, and that nothing else waits for it."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from cassandra.cluster import Session
from sqlalchemy import func, select

from command_api.process.settings import Settings
from command_api.tables import follows, likes, posts, users
from projections.read_model import ReadModel, descending
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, wait_for
from tests.e2e.test_fan_out import execute, metrics

COPIES = 2_400
LIKES = 10_000
BUDGET = timedelta(seconds=5)
TIMELINE = ReadModel(
    name="timeline",
    select=select(
        follows.c.follower_id,
        posts.c.created_at,
        posts.c.post_id,
        posts.c.body,
        users.c.name.label("author_name"),
        select(func.count()).where(likes.c.post_id == posts.c.post_id).scalar_subquery().label("like_count"),
    )
    .join(posts, posts.c.author_id == follows.c.followee_id)
    .join(users, users.c.user_id == posts.c.author_id),
    partition_key=("follower_id",),
    clustering_key=(descending("created_at"), "post_id"),
    budgets={"like_count": BUDGET},
)
BY_ID = ReadModel(
    name="by_id",
    select=select(
        posts.c.post_id,
        posts.c.body,
        select(func.count()).where(likes.c.post_id == posts.c.post_id).scalar_subquery().label("like_count"),
    ),
    partition_key=("post_id",),
    budgets={"like_count": BUDGET},
)
EAGER = replace(BY_ID, name="eager", budgets={})
MODELS = (TIMELINE, BY_ID, EAGER)


def filled(settings: Settings) -> tuple[uuid.UUID, uuid.UUID, int]:
    """An author with followers and a post: (author, post, a position that shows them)."""
    author, post = uuid.uuid4(), uuid.uuid4()
    execute(settings, "insert into users (user_id, name) values (%s, 'Ada')", author)
    execute(
        settings,
        "insert into users (user_id, name) select md5('reader ' || n)::uuid, 'r' from generate_series(1, %s) n",
        LIKES,
    )
    execute(
        settings,
        "insert into follows (follower_id, followee_id)"
        " select md5('reader ' || n)::uuid, %s from generate_series(1, %s) n",
        author,
        COPIES,
    )
    return (
        author,
        post,
        execute(settings, "insert into posts (post_id, author_id, body) values (%s, %s, 'hello')", post, author),
    )


def storm(settings: Settings, post: uuid.UUID, first: int, last: int) -> None:
    """A transaction a like."""
    with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        statement = "insert into likes (post_id, user_id) values (%s, md5('reader ' || %s)::uuid)"
        for number in range(first, last + 1):
            if number == last:
                connection.execute("set synchronous_commit = on")  # which all before it are flushed with
            connection.execute(statement, (post, str(number)), prepare=True)


@pytest.mark.timeout(300)
def test_a_storm_of_likes_is_written_once_a_copy_and_budget(pipeline: Pipeline, cassandra_session: Session) -> None:
    pipeline.declare("tests.e2e.test_budgets:MODELS")
    settings = pipeline.settings
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    admin = settings.postgres.admin.get_secret_value()
    pipeline.set_up()
    _, post, loaded = filled(settings)

    def cover(lsn: int, models: tuple[ReadModel, ...], seconds: float) -> None:
        compare.wait_covered(cassandra_session, keyspace, projection, models, lsn, seconds=seconds, pipeline=pipeline)

    def shown() -> set[tuple[Any, ...]]:
        """(body, like_count) of the post's copies."""
        rows = compare.in_cassandra(cassandra_session, keyspace, TIMELINE).values()
        return {(body, count) for body, _, count in rows}

    with pipeline.running("relay"):
        worker = pipeline.start("projector", settings=settings)
        cover(loaded, MODELS, 60)
        before = metrics(worker)
        began = time.monotonic()
        storm(settings, post, 1, LIKES // 2)
        execute(settings, "update posts set body = 'edited' where post_id = %s", post)
        edited = time.monotonic()
        wait_for("the edit shows while likes wait", lambda: {body for body, _ in shown()} == {"edited"}, 4)
        assert time.monotonic() - edited < BUDGET.total_seconds()
        storm(settings, post, LIKES // 2 + 1, LIKES)
        liked = compare.flushed(admin)
        cover(liked, (EAGER,), 60)
        found = metrics(worker)
        assert found["projection_budget_pending_keys timeline"] == COPIES, "one durable row a post, not one a like"
        assert compare.positions(cassandra_session, keyspace, projection)["timeline"] < liked, "it says it is behind"
        cover(liked, MODELS, 60)
        took = time.monotonic() - began
        assert shown() == {("edited", LIKES)}
        found = metrics(worker)
        budgets = 1 + int(took / BUDGET.total_seconds())
        for model, copies in ((TIMELINE, COPIES), (BY_ID, 1)):
            name = f"projection_rows_written_total {model.name}"
            written = found[name] - before[name]
            assert copies < written <= copies * (budgets + 1), "each budget and the edit cost one write a copy"
            assert found[f"projection_budget_pending_keys {model.name}"] == 0
        saved = found["projection_budget_saved_writes_total timeline"]
        assert saved >= COPIES * 10, "each batch of likes would have written every copy"

        execute(settings, "delete from likes where user_id = md5('reader 1')::uuid")
        wait_for("the worker knows of it", lambda: metrics(worker)["projection_budget_pending_keys timeline"], 5)
        worker.kill()
        worker = pipeline.start("projector", settings=settings)
        last = execute(settings, "delete from likes where user_id = md5('reader 2')::uuid")
        cover(last, MODELS, 60)
        assert worker.stop() == 0, worker.tail()
    compare.assert_equal(cassandra_session, keyspace, admin, MODELS, "after the storm")
