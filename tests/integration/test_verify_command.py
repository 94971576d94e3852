"""`projector verify` as an operator meets it: exit status, samples, columns of every kind, and what it can't do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Session
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

import projections
from command_api.process.settings import Settings
from projector.cassandra.session import close, connect
from projector.verify.checksum import BUCKETS
from projector.verify.run import Options
from projector.verify.run import verify as verify_model
from tests.e2e.pipeline import Pipeline, Process, wait_for
from tests.http_client import HTTP
from tests.integration.verification import MODELS, Damage, place_orders, settle, verify

FEW = "tests.integration.verification:MODELS"


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(settings, tmp_path) as made:
        yield made


def _metrics(process: Process) -> str:
    pattern = re.compile(r'"port": (\d+), "event": "metrics are served"')
    found = wait_for("metrics are served", lambda: pattern.search(process.said()), 30, process.tail)
    return HTTP.get(f"http://127.0.0.1:{found[1]}/metrics", timeout=10).text


@pytest.mark.timeout(180)
def test_what_can_not_be_verified_ends_with_two(pipeline: Pipeline) -> None:
    pipeline.declare(FEW)
    settings = pipeline.settings
    pipeline.set_up()
    for arguments, words in (
        ((), "give names of read models, or --all"),
        (("no_such_model",), "no read model no_such_model"),
        (("order_by_id", "--sample", "0%"), "no percentage"),
        (("order_by_id", "--wait", "1"), "covers nothing yet"),
    ):
        outcome = verify(pipeline, *arguments)
        assert outcome.status == 2, outcome.said
        assert words in outcome.said
        assert "Traceback" not in outcome.said
    for login, words in (
        (settings.postgres.reader.get_secret_value(), "REPLICATION"),
        (make_conninfo(settings.postgres.reader.get_secret_value(), password="other"), "postgres.verifier"),
    ):
        pipeline.settings = pipeline.with_settings(postgres={"verifier": SecretStr(login)})
        outcome = verify(pipeline, "order_by_id")
        assert outcome.status == 2, outcome.said
        assert words in outcome.said
        assert "Traceback" not in outcome.said


@pytest.mark.timeout(180)
def test_every_reference_read_model_can_be_verified(pipeline: Pipeline) -> None:
    place_orders(pipeline, 30)
    pipeline.set_up()
    with pipeline.running("relay", "projector"):
        outcome = verify(pipeline, "--all", "--json")
        assert outcome.status == 0, outcome.said[-3_000:]
        assert set(outcome.reports) == {model.name for model in projections.READ_MODELS}
        assert outcome.reports["order_by_id"]["rows"] == 30
        assert not any(report["left_out"] for report in outcome.reports.values())
        text = verify(pipeline, "order_by_id", "orders_by_user").said
        assert re.search(r"^order_by_id: 30 rows at [0-9A-F]+/[0-9A-F]+, [0-9.]+ s: equal$", text, re.MULTILINE)


@pytest.mark.timeout(180)
def test_a_sample_is_the_same_partitions_on_both_sides(pipeline: Pipeline, cassandra_session: Session) -> None:
    place_orders(pipeline, 2_000)
    pipeline.declare(FEW)
    pipeline.set_up()
    settings = pipeline.settings
    session = connect(settings.cassandra)
    try:
        with pipeline.running("relay", "projector"):
            settle(pipeline, cassandra_session, MODELS)
            damage = Damage(cassandra_session, pipeline, projections.ORDER_BY_ID)
            for row in damage.rows()[::2]:
                damage.set_cell(row, "region", "elsewhere")
            seen: set[str] = set()
            for seed in range(3):
                options = Options(percent=25, seed=seed)
                report = verify_model(
                    projections.ORDER_BY_ID, settings, session, options, lambda phase, done, total=None: None
                )
                assert report.rows == report.found_rows
                assert 350 < report.rows < 650, "a quarter of the partitions"
                assert 0.35 < report.differing / report.rows < 0.65
                seen |= {str(each.key) for each in report.differences}
            assert len(seen) > report.differing * 1.3, "another choice each time"
    finally:
        close(session)
    assert BUCKETS == 1 << 18


@pytest.mark.timeout(180)
def test_a_row_above_the_logs_position_is_reported_and_named_as_beyond_repair(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    place_orders(pipeline, 5)
    pipeline.declare(FEW)
    pipeline.set_up()
    with pipeline.running("relay", "projector"):
        settle(pipeline, cassandra_session, MODELS)
        damage = Damage(cassandra_session, pipeline, projections.ORDER_BY_ID)
        damage.set_cell(damage.rows()[0], "region", "from the future", above=1 << 45)
        outcome = verify(pipeline, "order_by_id", "--json", "--repair")
        report = outcome.reports["order_by_id"]
        assert outcome.status == 1
        assert outcome.keys("order_by_id") == damage.done
        assert (report["left"], report["beyond_repair"], report["rebuilt"]) == (1, 1, False)
        text = verify(pipeline, "order_by_id", "--repair").said
        assert "1 differ" in text
        assert 'expected {"region":"eu"}  found {"region":"from the future"}' in text
        assert "projector reset order_by_id" in text


@pytest.mark.timeout(180)
def test_a_worker_exports_the_drift_of_its_samples(pipeline: Pipeline, cassandra_session: Session) -> None:
    place_orders(pipeline, 20)
    pipeline.declare(FEW)
    pipeline.set_up()
    pipeline.settings = pipeline.with_settings(projector={"verify_every_s": 0.2, "verify_sample": 100})
    with pipeline.running("relay", "projector") as (_, worker):
        settle(pipeline, cassandra_session, MODELS)
        drift = 'projection_drift_rows{read_model="order_by_id"}'
        wait_for("a sample is equal", lambda: f"{drift} 0.0" in _metrics(worker), 60, worker.tail)
        damage = Damage(cassandra_session, pipeline, projections.ORDER_BY_ID)
        for row in damage.rows()[:3]:
            damage.set_cell(row, "region", "elsewhere")
        wait_for("the drift is exported", lambda: f"{drift} 3.0" in _metrics(worker), 60, worker.tail)
        wait_for("it is logged", lambda: "a sample differs from its SQL" in worker.said(), 10)
        assert verify(pipeline, "order_by_id", "--repair").status == 1
        wait_for("the drift is gone", lambda: f"{drift} 0.0" in _metrics(worker), 60, worker.tail)
