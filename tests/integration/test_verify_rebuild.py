"""A replica that is itself wrong: found when a repair does not help, set aside, built anew, and the rows mended."""

from __future__ import annotations

import secrets
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cassandra.cluster import Session

from command_api.process.settings import Settings
from command_api.tables import orders, users
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, wait_for
from tests.integration.verification import MODELS, changing, emit, place_orders, settle, verify

ALTERED = "built anew"


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(settings, tmp_path) as made:
        made.declare("tests.integration.verification:MODELS")
        yield made


def _equal(pipeline: Pipeline, session: Session, context: str) -> None:
    settle(pipeline, session, MODELS)
    settings = pipeline.settings
    compare.assert_equal(
        session, settings.cassandra.keyspace, settings.postgres.admin.get_secret_value(), MODELS, context
    )


@pytest.mark.timeout(240)
def test_a_wrong_replica_is_found_rebuilt_and_its_rows_mended(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    replica = pipeline.settings.projector.replica
    place_orders(pipeline, 30, "of a wrong replica")
    pipeline.set_up()
    worker = pipeline.start("projector", log="before")
    with pipeline.running("relay"):
        settle(pipeline, cassandra_session, MODELS)
        assert worker.stop() == 0
        with sqlite3.connect(replica) as damaged:
            damaged.execute(
                "UPDATE orders SET region = 'wrong' WHERE order_id IN (SELECT order_id FROM orders LIMIT 7)"
            )
            damaged.execute(
                "DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders WHERE region <> 'wrong' LIMIT 2)"
            )
        damaged.close()
        with pipeline.running("projector"):
            with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value()) as connection:
                connection.execute("update users set name = 'touched' where name = 'of a wrong replica'")
            settle(pipeline, cassandra_session, MODELS)
            with changing(pipeline, (users, orders), seed):
                outcome = verify(pipeline, "orders_by_user", "--json")
                assert outcome.status == 1, outcome.said[-3_000:]
                # The two that the replica lacks were not touched by the rename: their old name stands.
                assert outcome.reports["orders_by_user"]["differing"] == 9, f"seed {seed}: {outcome.said[-3_000:]}"
                outcome = verify(pipeline, "orders_by_user", "order_by_id", "--json", "--repair", seconds=150)
                reports = outcome.reports
                assert reports["orders_by_user"]["rebuilt"], outcome.said[-3_000:]
                assert reports["orders_by_user"]["mended"], outcome.said[-3_000:]
                assert not reports["order_by_id"]["rebuilt"], "the replica that both share is right by now"
                assert reports["order_by_id"]["mended"], outcome.said[-3_000:]
            _equal(pipeline, cassandra_session, f"seed {seed}")
            log = pipeline.folder / "projector.log"
            assert log.read_text().count(ALTERED) == 1
            assert replica.with_name(f"{replica.name}.aside").exists()
        replica.unlink()  # a replay from the beginning meets the request again, which is done
        with pipeline.running("projector"):
            place_orders(pipeline, 3)
            _equal(pipeline, cassandra_session, f"seed {seed}, after a replay")
            assert log.read_text().count(ALTERED) == 1


@pytest.mark.timeout(240)
def test_a_worker_killed_at_any_point_of_a_rebuild_converges(pipeline: Pipeline, cassandra_session: Session) -> None:
    place_orders(pipeline, 400)
    pipeline.set_up()
    with pipeline.running("relay"):
        worker = pipeline.start("projector", log="first")
        settle(pipeline, cassandra_session, MODELS)
        for number in range(3):
            emit(pipeline, "lockstep.rebuild", '{"model": "orders_by_user"}')
            place_orders(pipeline, 20)
            current = worker
            wait_for("the rebuild begins", lambda current=current: ALTERED in current.said(), 30, worker.tail)
            worker.send(signal.SIGKILL)
            worker.wait(10)
            worker = pipeline.start("projector", log=f"after kill {number}")
            # A replica that is begun after the request is asked nothing by it.
            started = worker
            wait_for("it reads", lambda started=started: "reading the log" in started.said(), 30, worker.tail)
        _equal(pipeline, cassandra_session, "after three kills")
        assert worker.stop() == 0


@pytest.mark.timeout(120)
def test_requests_that_can_not_be_carried_out_stop_nobody(pipeline: Pipeline, cassandra_session: Session) -> None:
    place_orders(pipeline, 5)
    pipeline.set_up()
    refused = (
        ("lockstep.repair", "not JSON"),
        ("lockstep.repair", '{"model": "orders_by_user"}'),
        ("lockstep.repair", '{"model": "orders_by_user", "keys": [["one value"]]}'),
        ("lockstep.repair", '{"model": "orders_by_user", "keys": [["no uuid", 1, "no uuid"]]}'),
        ("lockstep.repair", '{"model": "orders_by_user", "keys": [[null, null, null]]}'),
        ("lockstep.rebuild", "[]"),
    )
    passed = (
        ("lockstep.repair", '{"model": "of another worker", "keys": [[1]]}'),
        ("lockstep.other", "?"),
        ("app", "?"),
    )
    with pipeline.running("relay", "projector") as (_, worker):
        for prefix, content in (*refused, *passed):
            emit(pipeline, prefix, content)
        place_orders(pipeline, 5)
        _equal(pipeline, cassandra_session, "after the requests")
        assert worker.said().count("a request in the log can't be carried out") == len(refused)
        assert ALTERED not in worker.said()
