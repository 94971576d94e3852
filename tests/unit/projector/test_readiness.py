"""When a worker counts as able to do its job."""

from __future__ import annotations

from projector.readiness import RETRYING_S, SLOW_TURN_S, Readiness


def test_a_worker_is_ready_while_its_turns_end() -> None:
    now = [100.0]
    readiness = Readiness(clock=lambda: now[0])
    assert readiness.reason() == "starting"
    readiness.began("connecting to Cassandra")
    assert readiness.reason() == "connecting to Cassandra"
    readiness.turned()
    assert readiness.reason() == ""
    now[0] += SLOW_TURN_S + 1
    assert readiness.reason() == "a batch is in hand for 16 s"
    readiness.turned()
    assert readiness.reason() == ""


def test_a_store_that_refuses_counts_once_it_has_gone_on() -> None:
    now = [100.0]
    readiness = Readiness(clock=lambda: now[0])
    readiness.turned()
    readiness.retried("timeout")
    assert readiness.reason() == ""
    now[0] += RETRYING_S + 1
    assert readiness.reason() == "Cassandra does not take what is written, for 3 s now: timeout"
    readiness.turned()
    assert readiness.reason() == ""


def test_a_log_that_is_away_counts_at_once() -> None:
    readiness = Readiness()
    readiness.turned()
    readiness.log_answers = lambda: False
    assert readiness.reason().startswith("Kafka does not answer")
    readiness.began("stopping")
    assert readiness.reason() == "stopping"
