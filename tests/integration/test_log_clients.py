"""Clients of the log that hear nothing any more are given up for others; the log goes on where it was."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from command_api.process.kafka_admin import settled
from command_api.process.settings import Settings
from command_api.relay.errors import LogUnavailableError
from command_api.relay.publish import Publisher
from projector.apply.log import LogReader
from tests.conftest import Stack

pytestmark = pytest.mark.embedded("freezes the servers' own process")


@pytest.fixture
def log(settings: Settings) -> Iterator[Settings]:
    """Settings whose topic is there, and goes."""
    name = f"test-{secrets.token_hex(6)}"
    found = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"topic": name})})
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    settled(admin.create_topics([NewTopic(name, 1, 1)]).values(), 30)
    yield found
    settled(admin.delete_topics([name]).values(), 30)


@contextmanager
def frozen(stack: Stack) -> Iterator[None]:
    """Kafka's connections stay open and nothing answers."""
    assert stack.running is not None
    kafka = stack.running.state.part("kafka").process
    assert kafka is not None
    os.kill(kafka.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka.pid, signal.SIGCONT)


def _press(publisher: Publisher, size: int, seconds: float) -> None:
    """Publish so many bytes again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(20):
            publisher.publish(b"k", b"x" * (size // 20))
        publisher.service(0.05)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", [10, 3 << 20], ids=["little waits", "too much waits"])
def test_a_producer_that_hears_nothing_is_given_up_and_an_idle_one_is_not(
    log: Settings, stack: Stack, size: int
) -> None:
    publisher = Publisher(log.kafka, confirmed=0, give_up_s=3)
    try:
        publisher.publish(b"k", b"first")
        publisher.mark(1)
        assert publisher.flush(30)
        time.sleep(3.5)  # idle for longer than it may hear nothing
        publisher.publish(b"k", b"second")
        publisher.mark(2)
        assert publisher.flush(30)
        with frozen(stack), pytest.raises(LogUnavailableError, match="acknowledged nothing"):
            _press(publisher, size, 60)
        assert publisher.confirmed == 2
    finally:
        publisher.close()


@pytest.mark.timeout(120)
def test_another_consumer_reads_on_where_one_has_heard_nothing(log: Settings) -> None:
    publisher = Publisher(log.kafka, confirmed=0)
    reader = LogReader(log.kafka, anew_s=0.5)
    found: list[tuple[int, bytes]] = []

    def read_until(count: int) -> None:
        until = time.monotonic() + 60
        while len(found) < count:
            found.extend(reader.read(100, 0.1))
            assert time.monotonic() < until, found

    try:
        reader.open_at(None)
        for turn in range(3):
            first = reader._consumer  # the client behind the reader, which nothing else tells
            until = time.monotonic() + 60
            while reader._consumer is first:
                assert reader.read(100, 0.1) == []
                assert time.monotonic() < until, "no other client"
            for number in range(turn * 5, turn * 5 + 5):
                publisher.publish(None, b"%d" % number)
            assert publisher.flush(30)
            read_until(turn * 5 + 5)
    finally:
        reader.close()
        publisher.close()
    assert found == [(number, b"%d" % number) for number in range(15)]
