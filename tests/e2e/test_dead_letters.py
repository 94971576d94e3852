"""Rows that Cassandra refuses: parked and told, answered from Postgres, tried again, and all else is exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from cassandra.cluster import Session
from confluent_kafka import Consumer, TopicPartition

import projections
from projections.dead_letters import select_marks
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, Process, listening, wait_for

MIB = 1 << 20
USER = "insert into users (user_id, name) values (%s, %s)"
POST = "insert into posts (post_id, author_id, body, created_at) values (%s, %s, repeat('x', %s), now())"
OVER_MUTATION = 20 * MIB  # Cassandra takes half a segment of its commit log: 16 MiB


def connected(pipeline: Pipeline) -> psycopg.Connection[Any]:
    return psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True)


def covered(pipeline: Pipeline, session: Session, seconds: float = 60) -> None:
    settings = pipeline.settings
    lsn = compare.flushed(settings.postgres.admin.get_secret_value())
    compare.wait_covered(
        session, settings.cassandra.keyspace, settings.projector.projection, projections.READ_MODELS, lsn,
        seconds=seconds, pipeline=pipeline,
    )  # fmt: skip


def equal_but(pipeline: Pipeline, session: Session, lacking: dict[str, set[tuple[Any, ...]]]) -> None:
    """Every read model equals its SQL, but for rows with these keys, which may be missing or old."""
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    wanted = compare.all_in_postgres(admin, projections.READ_MODELS)
    found = compare.all_in_cassandra(session, keyspace, projections.READ_MODELS)
    for name, rows in wanted.items():
        keys = lacking.get(name, set())
        assert {k: v for k, v in found[name].items() if k not in keys} == {
            k: v for k, v in rows.items() if k not in keys
        }, name


def marks(pipeline: Pipeline, session: Session, model: str) -> list[Any]:
    settings = pipeline.settings
    statement = select_marks(settings.cassandra.keyspace, "%s")
    return list(session.execute(statement, (settings.projector.projection, model)))


def told(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The records of the topic, from its beginning."""
    kafka = pipeline.settings.kafka
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "test", "log_level": 3})
    try:
        place = TopicPartition(kafka.dead_letters, 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=20)
        consumer.assign([place])
        messages = consumer.consume(end, 20)
        return [json.loads(message.value() or b"") for message in messages]
    finally:
        consumer.close()


@contextmanager
def reading(pipeline: Pipeline, connections: int) -> Iterator[tuple[httpx.Client, Process]]:
    settings = pipeline.with_settings(read_api={"fallback_connections": connections})
    process = pipeline.start("read-api", settings=settings, log=f"read-api-{connections}")
    with httpx.Client(base_url=listening(process), timeout=30) as client:
        yield client, process
    assert process.stop() == 0, process.tail()


@pytest.mark.timeout(180)
def test_a_row_of_20_mb_is_parked_told_answered_by_postgres_and_written_when_it_fits(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    pipeline.set_up()
    author, post, other = uuid4(), uuid4(), uuid4()
    key = (str(post),)
    with connected(pipeline) as source, pipeline.running("relay", "projector"):
        source.execute(USER, (author, "Ada"))
        source.execute(POST, (other, author, 10))
        source.execute(POST, (post, author, 10))
        covered(pipeline, cassandra_session)
        source.execute("update posts set body = repeat('x', %s) where post_id = %s", (OVER_MUTATION, post))
        covered(pipeline, cassandra_session)
        assert [mark.key for mark in marks(pipeline, cassandra_session, "post_by_id")] == [json.dumps(key)]
        with reading(pipeline, 2) as (client, _), reading(pipeline, 0) as (alone, _):
            reply = client.get(f"/read/post_by_id/{post}").json()
            assert reply["source"] == "postgres"
            assert len(reply["rows"][0]["body"]) == OVER_MUTATION
            (letter,) = reply["dead_letters"]
            assert letter["key"] == {"post_id": str(post)}
            assert letter["read_model"] == "post_by_id"
            assert letter["reason"]
            refused = alone.get(f"/read/post_by_id/{post}")
            assert refused.status_code == 503
            assert refused.json()["dead_letters"] == reply["dead_letters"]
            assert "Retry-After" in refused.headers
            whole = client.get(f"/read/post_by_id/{other}").json()
            assert whole["source"] == "read-model"
            assert "dead_letters" not in whole
            assert client.get("/freshness").json()["read_models"]["post_by_id"]["dead_letters"] == 1
            listed = pipeline.run("projector", "dead-letters", "list", "post_by_id", "--json")
            (line,) = [json.loads(text) for text in listed.splitlines() if text.startswith("{")]
            assert line["key"] == [str(post)]
            source.execute("update posts set body = 'short again' where post_id = %s", (post,))
            covered(pipeline, cassandra_session)
            assert not marks(pipeline, cassandra_session, "post_by_id")
            mended = client.get(f"/read/post_by_id/{post}").json()
            assert (mended["source"], mended["rows"][0]["body"]) == ("read-model", "short again")
            assert client.get("/freshness").json()["read_models"]["post_by_id"]["dead_letters"] == 0
        equal_but(pipeline, cassandra_session, {})
    records = [record for record in told(pipeline) if record["read_model"] == "post_by_id"]
    assert [record["key"] for record in records] == [{"post_id": str(post)}]
    assert len(records[0]["row"]["body"]) == OVER_MUTATION
    assert UUID(records[0]["row"]["author_id"]) == author
