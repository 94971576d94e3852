"""A relay on real servers, run on a thread or as a process, and the log as a reader takes it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition

from command_api.lsn import Lsn
from command_api.process.settings import Settings
from command_api.relay import heartbeats, loop
from command_api.relay.catalog import Catalog
from command_api.relay.errors import RelayError
from command_api.relay.metrics import RelayState
from tests import preloaded

DEADLINE_S = 30.0


def until(condition: Callable[[], Any], *, seconds: float = DEADLINE_S) -> Any:
    """Wait for something true; fails the test when it does not come."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"did not come about within {seconds} s"
        time.sleep(0.01)  # the deadline is above; the condition is any
    return found


def for_tables(settings: Settings, *tables: str) -> Settings:
    """The settings with other tables than the metadata's."""
    return settings.model_copy(
        update={"relay": settings.relay.model_copy(update={"tables": tuple(f"public.{table}" for table in tables)})}
    )


@contextmanager
def running(settings: Settings) -> Iterator[RelayState]:
    """A relay on a thread of its own; fails when it stopped by itself."""
    state, stop = RelayState(), threading.Event()
    failures: list[Exception] = []

    def target() -> None:
        try:
            loop.run(settings, state, stop)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        until(lambda: state.streaming or failures)
        if not failures:
            yield state
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        if failures:
            raise failures[0]


@contextmanager
def beating(settings: Settings) -> Iterator[list[RelayError]]:
    """Heartbeats on a thread of their own; the error that ended them comes into the list."""
    stop = threading.Event()
    failures: list[RelayError] = []

    def target() -> None:
        try:
            heartbeats.run(settings, stop, pace_s=0.01, look_s=0.05)
        except RelayError as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield failures
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def log_records(settings: Settings) -> list[dict[str, Any]]:
    """Every value in the log."""
    consumer = Consumer({**settings.kafka.client_properties(), "group.id": "test", "enable.auto.commit": False})
    try:
        place = TopicPartition(settings.kafka.topic, 0, 0)
        _, high = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        values: list[dict[str, Any]] = []
        while len(values) < high:
            for message in consumer.consume(1000, 1):
                assert message.error() is None
                values.append(json.loads(message.value() or b"{}"))
        return values
    finally:
        consumer.close()


def log_length(settings: Settings) -> int:
    """How many records the log holds."""
    consumer = Consumer({**settings.kafka.client_properties(), "group.id": "test"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(settings.kafka.topic, 0), timeout=10)[1])
    finally:
        consumer.close()


def grows(settings: Settings, length: int) -> None:
    """Wait until the log is longer."""
    until(lambda: log_length(settings) > length)


def streams(state: RelayState, session: int) -> None:
    """Wait until the relay's n-th session streams."""
    until(lambda: state.streaming and state.sessions == session)


def confirmed(settings: Settings) -> int:
    """What the slot has confirmed: everything up to it is acknowledged by Kafka."""
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        slot = catalog.slot(settings.relay.slot)
    return slot.confirmed if slot else 0


def transactions(settings: Settings, *, killed: bool = False) -> list[list[dict[str, Any]]]:
    """The changes of each whole transaction, as a reader takes them: unfinished ones dropped, repeated ones a failure.

    killed: a relay was, whose last heartbeat may come after what its follower has sent; readers pass it over.
    """
    whole: list[list[dict[str, Any]]] = []
    changes: list[dict[str, Any]] = []
    seen = 0
    for value in log_records(settings):
        if value.get("status") == "BEGIN":
            changes = []
        elif "op" in value:
            changes.append(value)
        elif value.get("status") == "END":
            end = int(value["id"].split(":")[1])
            assert end > seen, "a transaction stands in the log twice"
            assert value["event_count"] == len(changes)
            assert [change["transaction"]["total_order"] for change in changes] == list(range(1, len(changes) + 1))
            whole.append(changes)
            seen = end
        else:
            assert killed or value["lsn"] >= seen
            seen = max(seen, value["lsn"])
    return whole


def flushed(admin: psycopg.Connection[Any]) -> Lsn:
    """A consistency token: at or after everything this connection has committed."""
    row = admin.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return Lsn.parse(row[0])


def covered(state: RelayState, token: Lsn) -> None:
    """Wait until the log covers the token."""
    until(lambda: state.confirmed >= token)


def environment(settings: Settings) -> dict[str, str]:
    """What `relay` needs of the settings, over this process's own variables; holds passwords."""
    return {
        **os.environ,
        "LOCKSTEP_POSTGRES__ADMIN": settings.postgres.admin.get_secret_value(),
        "LOCKSTEP_POSTGRES__RELAY": settings.postgres.relay.get_secret_value(),
        "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LOCKSTEP_KAFKA__TOPIC": settings.kafka.topic,
        "LOCKSTEP_RELAY__SLOT": settings.relay.slot,
        "LOCKSTEP_RELAY__PUBLICATION": settings.relay.publication,
        "LOCKSTEP_RELAY__METRICS_PORT": "0",
    }


@contextmanager
def process(settings: Settings, folder: Path) -> Iterator[preloaded.Forked]:
    """`relay run` as a process of its own; killed at the end."""
    with (folder / "relay.log").open("ab") as log:
        started = preloaded.popen(("command_api.relay", "run"), environment(settings), log)
    try:
        yield started
    finally:
        started.kill()
        started.wait(DEADLINE_S)
