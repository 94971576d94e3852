"""Each server goes and comes back under load: the processes wait, nothing is lost, no reply is older than its token.

The servers are this module's own, unless the session started some that it may restart; their supervisor starts them
again, as an operator would.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from cassandra.cluster import Session

import projections
from deploy.local.stack import Options, Running, start
from tests.conftest import Stack
from tests.e2e import compare, load
from tests.e2e.pipeline import Pipeline, wait_for


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Servers that may be restarted."""
    with start(Options(folder=tmp_path_factory.mktemp("restarts"), servers_only=True, throw_away=True)) as running:
        host, _, port = running.address("cassandra").rpartition(":")
        yield Stack(
            postgres_admin=running.postgres_admin,
            kafka=running.address("kafka"),
            cassandra=(host, int(port)),
            running=running,
        )


@pytest.fixture(scope="module")
def cassandra_session(stack: Stack) -> Iterator[Session]:
    """A driver session with this module's Cassandra."""
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy

    host, port = stack.cassandra
    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1"), request_timeout=30)
    cluster = Cluster(
        [host],
        port=port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
    )
    session = cluster.connect()
    yield session
    cluster.shutdown()


def _restart(running: Running, name: str, number: int) -> float:
    """Signal a server, wait until its supervisor has it back; seconds that it was away."""
    before = running.state.part(name)
    assert before.process is not None
    began = time.monotonic()
    os.kill(before.process.pid, number)

    def back() -> bool:
        now = running.state.part(name)
        return now.process is not None and now.process.pid != before.process.pid and now.phase == "ready"  # type: ignore[union-attr]

    wait_for(f"{name} is back", back, 90)
    return time.monotonic() - began


@pytest.mark.timeout(300)
def test_restarts_of_each_server_under_load(pipeline: Pipeline, cassandra_session: Session, stack: Stack) -> None:
    assert stack.running is not None
    seed = secrets.randbits(32)
    rng = Random(seed)
    context = f"seed {seed}"
    pipeline.set_up()
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    away: dict[str, Any] = {}

    def settle(after: str) -> None:
        compare.wait_covered(
            cassandra_session,
            keyspace,
            settings.projector.projection,
            projections.READ_MODELS,
            compare.flushed(admin),
            seconds=90,
            pipeline=pipeline,
        )
        compare.assert_equal(cassandra_session, keyspace, admin, projections.READ_MODELS, f"{context}, {after}")

    with pipeline.running("relay", "projector"):
        # Postgres both ways: its crash recovery is the one that could take back what the relay has seen.
        for name, number in (
            ("postgres", signal.SIGINT),
            ("kafka", signal.SIGTERM),
            ("cassandra", signal.SIGTERM),
            ("postgres", signal.SIGKILL),
            ("kafka", signal.SIGKILL),
        ):
            with load.running(pipeline, rng) as running:
                running.wait_for_reads(20, seconds=60)
                away[f"{name} {signal.Signals(number).name}"] = round(_restart(stack.running, name, number), 1)
                running.wait_for_reads(20, seconds=60)
            settle(f"after {name} {signal.Signals(number).name}")
            running.assert_honest(context, verified=40)
    print(f"{context}: away for {away}")
