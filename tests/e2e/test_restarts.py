"""Each server goes and comes back under load: the processes wait, nothing is lost, no reply is older than its token.

The servers' supervisor starts them again, as an operator would.
"""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import psycopg
import pytest
from cassandra.cluster import NoHostAvailable, Session

import projections
from tests.conftest import Stack
from tests.e2e import compare, load
from tests.e2e.own_servers import killed
from tests.e2e.pipeline import Pipeline, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.embedded("signals the servers' own processes, which the embedded stack's supervisor starts again"),
]

ONE_ORDER = """
    with u as (insert into users (user_id, name) values (gen_random_uuid(), 'Once') returning user_id)
    insert into orders (order_id, user_id, status, region) select gen_random_uuid(), user_id, 'placed', 'eu' from u
"""


@pytest.fixture(scope="module")
def stack(mortal_stack: Stack) -> Stack:
    return mortal_stack


@pytest.fixture(scope="module")
def cassandra_session(mortal_session: Session) -> Session:
    return mortal_session


def _answers(session: Session) -> bool:
    try:
        session.execute("SELECT key FROM system.local")
    except NoHostAvailable:
        return False
    return True


def _settle(pipeline: Pipeline, session: Session, context: str) -> None:
    """Wait until all is covered, then compare with SQL."""
    wait_for("the driver is back", lambda: _answers(session), 60)
    compare.settled(pipeline, session, projections.READ_MODELS, context, seconds=150)


@pytest.mark.timeout(600)
def test_restarts_of_each_server_under_load(pipeline: Pipeline, cassandra_session: Session, stack: Stack) -> None:
    assert stack.running is not None
    seed = secrets.randbits(32)
    rng = Random(seed)
    context = f"seed {seed}"
    pipeline.set_up()
    away: dict[str, Any] = {}
    with pipeline.running("relay", "projector"):
        # Postgres both ways: its crash recovery is the one that could take back what the relay has seen.
        for name, number in (
            ("postgres", signal.SIGINT),
            ("kafka", signal.SIGTERM),
            ("cassandra", signal.SIGTERM),
            ("postgres", signal.SIGKILL),
            ("kafka", signal.SIGKILL),
        ):
            fault = f"{name} {signal.Signals(number).name}"
            with load.running(pipeline, rng) as running:
                running.wait_for_reads(20, seconds=120)
                away[fault] = round(killed(stack.running, name, number), 1)
                running.wait_for_reads(20, seconds=180)  # a client of Kafka may be given up after 90
            _settle(pipeline, cassandra_session, f"{context}, after {fault}")
            running.assert_honest(context, verified=40)
    print(f"{context}: away for {away}")


@pytest.mark.timeout(600)
def test_a_killed_cassandra_has_kept_what_it_acknowledged(
    pipeline: Pipeline, cassandra_session: Session, stack: Stack
) -> None:
    """The worker has forgotten rows that were acknowledged: only Cassandra's commit log brings them back."""
    assert stack.running is not None
    pipeline.set_up()
    admin = pipeline.settings.postgres.admin.get_secret_value()
    with pipeline.running("relay", "projector"):
        for number in range(2):
            with _orders_touched_once(admin) as made:
                wanted = made[0] + 300
                wait_for("orders are made", lambda wanted=wanted: made[0] >= wanted, 60)
                killed(stack.running, "cassandra", signal.SIGKILL)
            _settle(pipeline, cassandra_session, f"after kill {number}")


@contextmanager
def _orders_touched_once(conninfo: str) -> Iterator[list[int]]:
    """Orders without a pause, each written once: no later change could mend a row that was lost. Yields their count."""
    stop, made = threading.Event(), [0]

    def place() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not stop.wait(0.003):
                connection.execute(ONE_ORDER)
                made[0] += 1

    thread = threading.Thread(target=place)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(30)
