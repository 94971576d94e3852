"""What stops a worker on the real path, with offset and remedy, and how it goes on: foreign records, values that don't fit."""

from __future__ import annotations

import json
import re

import pytest
from cassandra.cluster import Session
from confluent_kafka import Producer

from tests.e2e.notes import MODELS
from tests.e2e.pipeline import Pipeline, wait_for
from tests.e2e.test_dead_letters import GOOD, assert_equal_but, connected, covered, of_notes

FOREIGN = (
    b"\xff no JSON",
    b'{"hello": "world"}',
    b'{"op": "c", "after": {"id": 1}, "source": {"table": "notes"}}',
    b'{"status": "END", "id": "7:%d", "event_count": 0}' % (1 << 60),
)
HARMLESS = (
    json.dumps(
        {"op": "m", "message": {"prefix": "foreign", "content": 5 * "x"}, "source": {"table": "", "schema": ""}}
    ),
    json.dumps(
        {
            "op": "c",
            "after": {"id": "no number"},
            "source": {"table": "unknown"},
            "transaction": {"id": "9:9", "total_order": 1},
        }
    ),
)


def put(pipeline: Pipeline, *values: bytes | str) -> list[int]:
    """Records of a foreign producer; their offsets."""
    kafka = pipeline.settings.kafka
    offsets: list[int] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 3})
    for value in values:
        producer.produce(kafka.topic, value, on_delivery=lambda _error, message: offsets.append(message.offset()))
    assert producer.flush(30) == 0
    return offsets


@pytest.mark.timeout(300)
def test_foreign_records_stop_the_worker_one_by_one_until_each_is_skipped(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    of_notes(pipeline)
    with connected(pipeline) as source, pipeline.running("relay"):
        source.execute(GOOD)
        put(pipeline, *HARMLESS)
        offsets = put(pipeline, *FOREIGN)
        source.execute("update notes set body = 'behind the garbage' where id > 250")
        for number, offset in enumerate(offsets):
            worker = pipeline.start("projector", log=f"stopped-{number}")
            assert worker.wait(60) == 1, worker.tail()
            assert f"log offset {offset}" in worker.said()
            assert f"projector skip --offset {offset}" in worker.said()
            assert "Traceback" not in worker.said()
            pipeline.run("projector", "skip", "--offset", str(offset))
        with pipeline.running("projector"):
            covered(pipeline, cassandra_session, MODELS)
            assert_equal_but(pipeline, cassandra_session, MODELS, {})


@pytest.mark.timeout(300)
def test_a_value_that_the_replica_cannot_hold_names_its_column_and_is_skipped_once_the_row_is_mended(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    of_notes(pipeline)
    with connected(pipeline) as source, pipeline.running("relay"):
        worker = pipeline.start("projector")
        source.execute(GOOD)
        covered(pipeline, cassandra_session, MODELS)
        with source.transaction():
            source.execute("update notes set body = 'beside it' where id = 101")
            source.execute("insert into notes (id, name, price) values (1, 'n1', 'NaN'), (2, 'n2', 2)")
        assert worker.wait(60) == 1, worker.tail()
        found = re.search(r"log offset (\d+): public\.notes\.price: NaN", worker.said())
        assert found, worker.tail()
        assert f"projector skip --offset {found[1]}" in worker.said()
        source.execute("update notes set price = 1 where id = 1")
        assert pipeline.start("projector", log="again").wait(60) == 1, "it must not go past the record by itself"
        pipeline.run("projector", "skip", "--offset", found[1])
        with pipeline.running("projector"):
            covered(pipeline, cassandra_session, MODELS)
            assert_equal_but(pipeline, cassandra_session, MODELS, {})


@pytest.mark.timeout(120)
def test_what_was_written_before_a_record_that_cannot_be_read_does_not_outlive_the_snapshot_behind_it(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    """Batches are written that nobody has committed when the record comes; rows of theirs are gone before the snapshot."""
    of_notes(pipeline, max_batch_changes=300)
    with connected(pipeline) as source:
        with pipeline.running("relay") as (relay,):
            many = (
                "insert into notes (id, name, body) select %s * 100 + i, 'n' || i, 'x' from generate_series(1, 100) i"
            )
            for hundred in range(10, 20):
                source.execute(many, (hundred,))
            source.execute("insert into notes (id, name, price) values (1, 'n1', 'NaN')")
            source.execute("delete from notes where id between 1001 and 1100 or id = 1")
            for hundred in range(20, 60):  # so that the worker is far behind, and commits seldom
                source.execute(many, (hundred,))
            said = "select bool_and(confirmed_flush_lsn >= %s::pg_lsn) from pg_replication_slots where database = current_database()"
            ((end,),) = source.execute("select pg_current_wal_flush_lsn()::text").fetchall()
            wait_for("all is in the log", lambda: source.execute(said, (end,)).fetchall()[0][0], 30, relay.tail)
        pipeline.run("command_api.relay", "snapshot")
        with pipeline.running("relay", "projector") as (_, worker):
            covered(pipeline, cassandra_session, MODELS)
            assert "going on from a later snapshot" in worker.said()
            assert_equal_but(pipeline, cassandra_session, MODELS, {})
