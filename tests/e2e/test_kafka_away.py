"""Kafka is away for a minute under load, on the tests' common servers: freezing it harms nobody but the test itself."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from random import Random

import pytest
from cassandra.cluster import Session

import projections
from tests.conftest import Stack
from tests.e2e import compare, load
from tests.e2e.pipeline import Pipeline, wait_for
from tests.http_client import HTTP
from tests.integration.relay.stand import transactions

pytestmark = pytest.mark.embedded("freezes the servers' own process")


@pytest.mark.timeout(600)
def test_kafka_away_for_a_minute_loses_and_doubles_nothing(
    pipeline: Pipeline, cassandra_session: Session, stack: Stack
) -> None:
    """Frozen, not ended: connections stay open and nothing answers, the longest kind of absence for a client."""
    assert stack.running is not None
    kafka = stack.running.state.part("kafka").process
    assert kafka is not None
    seed = secrets.randbits(32)
    pipeline.set_up()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    relay = pipeline.start("relay", settings=pipeline.with_settings(relay={"metrics_port": port}))
    retained: list[float] = []
    with pipeline.running("projector"):
        with load.running(pipeline, Random(seed)) as running:
            running.wait_for_reads(20, seconds=120)
            os.kill(kafka.pid, signal.SIGSTOP)
            try:
                back = time.monotonic() + 60
                while time.monotonic() < back:
                    assert relay.status is None, relay.tail()
                    retained.append(_metric(port, "relay_slot_retained_bytes"))
                    time.sleep(1)  # samples over the minute, which is the deadline
            finally:
                os.kill(kafka.pid, signal.SIGCONT)
            running.wait_for_reads(20, seconds=120)
        compare.settled(
            pipeline, cassandra_session, projections.READ_MODELS, f"seed {seed}, after the minute", seconds=150
        )
    third = len(retained) // 3
    assert max(retained[:third]) < max(retained[third : 2 * third]) < max(retained[2 * third :]), retained
    running.assert_honest(f"seed {seed}", verified=40)
    wait_for(
        "the WAL is let go", lambda: _metric(port, "relay_slot_retained_bytes") < max(retained) / 2, 60, relay.tail
    )
    assert transactions(pipeline.settings), "fails on a transaction that stands in the log twice"
    assert relay.stop() == 0, relay.tail()


def _metric(port: int, name: str) -> float:
    text = HTTP.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))
