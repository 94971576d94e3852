"""Kills, pauses, lost files and second workers under load: afterwards every read model equals its SQL.

All along, replies to reads with a token are judged (see `tokens`). Whatever is killed is started again at once, as a
supervisor does; whatever ends by itself fails the test.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from cassandra.cluster import Session

import projections
from command_api.process.settings import Settings
from tests.e2e import compare, load
from tests.e2e.pipeline import Pipeline, Process

pytestmark = pytest.mark.alone

KILLS = 50
SECONDS = float(os.environ.get("LOCKSTEP_TEST_FAULT_SECONDS", "45"))
JUDGED = 100
"""Replies to reads with a token that are to be right; on a slow machine the faults go on until they are."""
PATIENCE_S = 4 * SECONDS
WAL_SENDER_TIMEOUT_S = 2.0
"""How long Postgres keeps the slot for a relay that is paused; its default of a minute is too long for a test."""


class Part:
    """A process of the path that is to be running: killed and started again, paused and woken."""

    def __init__(self, pipeline: Pipeline, name: str, log: str, settings: Settings) -> None:
        self.log = log
        self._pipeline, self._name, self._settings = pipeline, name, settings
        self.process: Process | None = None

    @property
    def replica(self) -> Path:
        return self._settings.projector.replica

    def start(self) -> None:
        self.process = self._pipeline.start(self._name, settings=self._settings, log=self.log)

    def check(self) -> Process:
        """The process, which must still be running."""
        process = self.process
        assert process is not None
        assert process.status is None, f"{self.log} ended with {process.status} by itself. {process.tail()}"
        return process

    def kill(self, before_start: Callable[[], None] = lambda: None) -> None:
        self.check().kill()
        before_start()
        self.start()

    def leave(self) -> None:
        """Kill it for good."""
        if self.process is not None:
            self.check().kill()
            self.process = None


def with_short_slot(pipeline: Pipeline) -> Settings:
    """Settings whose relay loses the slot when it is paused for longer than WAL_SENDER_TIMEOUT_S."""
    conninfo = pipeline.settings.postgres.relay.get_secret_value()
    options = f" options='-c wal_sender_timeout={int(WAL_SENDER_TIMEOUT_S * 1000)}'"
    return pipeline.with_settings(postgres={"relay": type(pipeline.settings.postgres.relay)(conninfo + options)})


def forget(replica: Path) -> None:
    """Lose the worker's volume."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{replica}{suffix}").unlink(missing_ok=True)


@pytest.mark.timeout(600)
def test_kills_and_pauses_under_load(pipeline: Pipeline, cassandra_session: Session, tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    context = f"seed {seed}"
    pipeline.settings = with_short_slot(pipeline)
    pipeline.set_up()
    relay = Part(pipeline, "relay", "relay", pipeline.settings)
    other_relay = Part(pipeline, "relay", "relay-2", pipeline.settings)
    worker = Part(pipeline, "projector", "projector", pipeline.settings)
    standby = Part(
        pipeline,
        "projector",
        "projector-2",
        pipeline.with_settings(
            projector={"replica": tmp_path / "second.sqlite"},
            kafka={"group_id": f"{pipeline.settings.kafka.group_id}-2"},
        ),
    )
    done: Counter[str] = Counter()
    relay.start()
    worker.start()
    began = time.monotonic()
    with load.running(pipeline, rng) as running:
        while (
            done["kill"] < KILLS
            or (elapsed := time.monotonic() - began) < SECONDS
            or (elapsed < PATIENCE_S and not running.has_judged(JUDGED))
        ):
            _pause(rng.choice((0.1, 0.3, 0.6, 1.2, 3.0)) * rng.random(), (relay, worker, standby))
            fault = rng.choices(
                (
                    "relay",
                    "worker",
                    "standby",
                    "lost replica",
                    "paused worker",
                    "paused relay",
                    "standby comes or goes",
                ),
                (9, 9, 4, 2, 2, 1.5, 2),
            )[0]
            done[fault] += 1
            if fault in ("relay", "worker"):
                (relay if fault == "relay" else worker).kill()
                done["kill"] += 1
            elif fault == "standby" and standby.process is not None:
                standby.kill()
                done["kill"] += 1
            elif fault == "lost replica":
                worker.kill(before_start=lambda: forget(worker.replica))
                done["kill"] += 1
            elif fault == "paused worker":
                _paused(worker, rng.uniform(0.2, 3.0), (relay, standby))
            elif fault == "paused relay":
                _taken_over(relay, other_relay, rng, (worker, standby))
                relay, other_relay = other_relay, relay
                done["kill"] += 1
            elif standby.process is None:
                standby.start()
            else:
                standby.leave()
                if rng.random() < 0.5:
                    forget(standby.replica)
    if standby.process is not None:
        standby.leave()
    admin, keyspace = pipeline.settings.postgres.admin.get_secret_value(), pipeline.settings.cassandra.keyspace
    compare.wait_covered(
        cassandra_session,
        keyspace,
        pipeline.settings.projector.projection,
        projections.READ_MODELS,
        compare.flushed(admin),
        seconds=120,
        pipeline=pipeline,
    )
    relay.check()
    worker.check()
    compare.assert_equal(cassandra_session, keyspace, admin, projections.READ_MODELS, f"{context}, {done}")
    running.assert_honest(context, verified=JUDGED)
    print(f"{context}: {time.monotonic() - began:.0f} s, {dict(done)}, {running}")


def _pause(seconds: float, parts: tuple[Part, ...]) -> None:
    """Let the load run on for a while; whoever ends meanwhile fails the test."""
    until = time.monotonic() + seconds
    while True:
        for part in parts:
            if part.process is not None:
                part.check()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.05))  # the end of the pause is the deadline; between, the processes are looked after


def _paused(part: Part, seconds: float, others: tuple[Part, ...]) -> None:
    part.check().send(signal.SIGSTOP)
    _pause(seconds, others)
    part.check().send(signal.SIGCONT)


def _taken_over(relay: Part, other: Part, rng: Random, rest: tuple[Part, ...]) -> None:
    """The relay is paused until another has its slot, wakes up beside it, and is killed after a while."""
    other.start()
    relay.check().send(signal.SIGSTOP)
    log = (
        relay.check().log.with_name("relay-2.log")
        if other.log == "relay-2"
        else relay.check().log.with_name("relay.log")
    )
    streams = log.read_text().count('"streaming"')
    until = time.monotonic() + 4 * WAL_SENDER_TIMEOUT_S + 10
    while log.read_text().count('"streaming"') == streams:
        assert time.monotonic() < until, f"the slot was not taken over. {other.check().tail()}"
        _pause(0.05, (other, *rest))
    relay.check().send(signal.SIGCONT)
    _pause(rng.uniform(0.0, 2.0), (relay, other, *rest))
    relay.leave()
