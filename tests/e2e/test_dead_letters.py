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
from projections.cassandra_table import cassandra_table
from projections.dead_letters import select_marks
from projections.read_model import ReadModel
from tests.e2e import compare
from tests.e2e.notes import METADATA, MODELS, NOTE_BY_ID
from tests.e2e.pipeline import Pipeline, Process, listening

MIB = 1 << 20
USER = "insert into users (user_id, name) values (%s, %s)"
POST = "insert into posts (post_id, author_id, body, created_at) values (%s, %s, repeat('x', %s), now())"
OVER_MUTATION = 20 * MIB  # Cassandra takes half a segment of its commit log: 16 MiB


def connected(pipeline: Pipeline) -> psycopg.Connection[Any]:
    return psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True)


def covered(pipeline: Pipeline, session: Session, models: tuple[ReadModel, ...] = projections.READ_MODELS) -> None:
    settings = pipeline.settings
    lsn = compare.flushed(settings.postgres.admin.get_secret_value())
    compare.wait_covered(
        session, settings.cassandra.keyspace, settings.projector.projection, models, lsn, seconds=90, pipeline=pipeline
    )  # fmt: skip


def assert_equal_but(
    pipeline: Pipeline, session: Session, models: tuple[ReadModel, ...], lacking: dict[str, set[tuple[Any, ...]]]
) -> None:
    """Every read model equals its SQL, but for rows with these keys, which may be missing or old."""
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    wanted = compare.all_in_postgres(admin, models)
    found = compare.all_in_cassandra(session, keyspace, models)
    for name, rows in wanted.items():
        keys = lacking.get(name, set())
        rest = {key: row for key, row in rows.items() if key not in keys}
        assert {key: row for key, row in found[name].items() if key not in keys} == rest, name


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
            verified = pipeline.run("projector", "verify", "post_by_id")
            assert "equal" in verified, "what is told is no drift"
            assert "1 rows are not there because Cassandra refuses them" in verified
            source.execute("update posts set body = 'short again' where post_id = %s", (post,))
            covered(pipeline, cassandra_session)
            assert not marks(pipeline, cassandra_session, "post_by_id")
            mended = client.get(f"/read/post_by_id/{post}").json()
            assert (mended["source"], mended["rows"][0]["body"]) == ("read-model", "short again")
            assert client.get("/freshness").json()["read_models"]["post_by_id"]["dead_letters"] == 0
        assert_equal_but(pipeline, cassandra_session, projections.READ_MODELS, {})
    records = [record for record in told(pipeline) if record["read_model"] == "post_by_id"]
    assert [record["key"] for record in records] == [{"post_id": str(post)}]
    assert len(records[0]["row"]["body"]) == OVER_MUTATION
    assert UUID(records[0]["row"]["author_id"]) == author


NOTE = "insert into notes (id, name, at, amount, body) values (%s, %s, %s, %s, %s)"
GOOD = "insert into notes select i, 'n' || i % 7, '12:00', i, 'body', 'x' from generate_series(100, 300) i"


def of_notes(pipeline: Pipeline, **projector: Any) -> None:
    """Have the pipeline maintain the read models of `tests.e2e.notes`."""
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.e2e.notes:METADATA", "tables": ("public.notes",)},
        projector={"read_models": "tests.e2e.notes:MODELS", "metadata": "tests.e2e.notes:METADATA", **projector},
        read_api={"read_models": "tests.e2e.notes:MODELS"},
    )
    with connected(pipeline) as source:
        compare.create_tables(source, METADATA)
        source.execute("grant select on notes to lockstep_reader")
    pipeline.set_up()


def marked(pipeline: Pipeline, session: Session) -> dict[str, set[tuple[Any, ...]]]:
    """By read model, the keys that are marked; of one that is too long to be kept its LSN in its place."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for model in MODELS:
        rows = marks(pipeline, session, model.name)
        found[model.name] = {(row.lsn,) if row.key is None else tuple(json.loads(row.key)) for row in rows}
    return found


@pytest.mark.timeout(420)
def test_every_kind_of_refused_row_is_parked_and_outlives_kills_a_lost_volume_and_a_second_worker(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    of_notes(pipeline)
    keyspace = pipeline.settings.cassandra.keyspace
    table = cassandra_table(NOTE_BY_ID, keyspace)
    cassandra_session.execute(
        f"DROP TABLE {table.qualified}"
    )  # the server's column takes less than the declaration says
    cassandra_session.execute(table.create().replace('"body" text', '"body" ascii'))
    standby = pipeline.with_settings(projector={"replica": pipeline.folder / "standby.sqlite"})
    settled: dict[str, set[tuple[Any, ...]]] = {"note_by_id": set(), "notes_by_name": set()}
    parked: dict[str, set[tuple[Any, ...]]] = {"note_by_id": {(3,), (4,), (5,)}, "notes_by_name": {("", 1)}}
    with connected(pipeline) as source, pipeline.running("relay"):
        worker = pipeline.start("projector")
        source.execute(GOOD)
        source.execute(NOTE, (5, "n5", "12:00", 1, "taken at first"))
        covered(pipeline, cassandra_session, MODELS)
        with source.transaction():
            source.execute(NOTE, (1, "", "12:00", 1, "no partition key"))
            source.execute(NOTE, (3, "n3", "24:00", 1, "no time"))
            source.execute(NOTE, (4, "n4", "12:00", "NaN", "no number"))
            source.execute("update notes set body = 'not ascii: é' where id = 5")
            source.execute("update notes set body = 'changed' where id > 200")
        covered(pipeline, cassandra_session, MODELS)
        assert marked(pipeline, cassandra_session) == parked
        assert_equal_but(pipeline, cassandra_session, MODELS, parked)
        # A crash and a lost volume: what was parked is known again, though it is caught up silently.
        worker.kill()
        for suffix in ("", "-wal", "-shm"):
            (pipeline.folder / f"replica.sqlite{suffix}").unlink(missing_ok=True)
        pipeline.start("projector", log="after the loss")
        pipeline.start("projector", settings=standby, log="standby")
        source.execute("update notes set amount = 2 where id = 4")
        source.execute("delete from notes where id = 3")
        source.execute(NOTE, (2, "k" * 70_000, "12:00", 1, "a key that is too long"))
        covered(pipeline, cassandra_session, MODELS)
        left = marked(pipeline, cassandra_session)
        assert left["note_by_id"] == {(5,)}
        assert len(left["notes_by_name"]) == 2
        lacking: dict[str, set[tuple[Any, ...]]] = {"note_by_id": {(5,)}, "notes_by_name": {("", 1), ("k" * 70_000, 2)}}
        assert_equal_but(pipeline, cassandra_session, MODELS, lacking)
        # By hand: what is still refused stays, and what Cassandra takes by then is written.
        arguments = ("projector", "dead-letters", "retry")
        still = Process("retry", arguments, pipeline.settings, pipeline.folder / "retry.log")
        assert still.wait(90) == 1, still.tail()
        assert "0 written or gone, 3 still refused" in still.said(), still.tail()
        for change in ("DROP body", "ADD body text"):
            cassandra_session.execute(f"ALTER TABLE {keyspace}.note_by_id {change}")
        source.execute("update notes set body = body where id <> 5")  # the column is new: its values are gone
        covered(pipeline, cassandra_session, MODELS)
        assert marked(pipeline, cassandra_session)["note_by_id"] == {(5,)}
        said = pipeline.run("projector", "dead-letters", "retry", "note_by_id", "[5]")
        assert "1 written or gone, 0 still refused" in said
        source.execute("update notes set name = 'n1' where id in (1, 2)")
        covered(pipeline, cassandra_session, MODELS)
        assert marked(pipeline, cassandra_session) == settled
        assert_equal_but(pipeline, cassandra_session, MODELS, {})


@pytest.mark.timeout(180)
def test_more_refused_rows_than_allowed_stop_the_worker_before_it_covers_them(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    of_notes(pipeline, most_dead_letters=5)
    with connected(pipeline) as source, pipeline.running("relay"):
        worker = pipeline.start("projector")
        source.execute(GOOD)
        covered(pipeline, cassandra_session, MODELS)
        source.execute("insert into notes (id, name, at) select i, 'storm', '24:00' from generate_series(1, 50) i")
        assert worker.wait(60) == 1, worker.tail()
        assert "projector.most_dead_letters is 5" in worker.said()
        assert "Traceback" not in worker.said()
        assert marked(pipeline, cassandra_session) == {"note_by_id": set(), "notes_by_name": set()}
        source.execute("update notes set at = '12:00' where name = 'storm'")
        with pipeline.running("projector"):  # it meets all of that in one batch, and what is true by then fits
            covered(pipeline, cassandra_session, MODELS)
            assert_equal_but(pipeline, cassandra_session, MODELS, {})
