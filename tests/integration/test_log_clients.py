"""Clients of the log that hear nothing any more are given up for others; the log goes on where it was."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from command_api.process.kafka_admin import settled
from command_api.process.settings import Settings
from command_api.relay.errors import LogUnavailableError
from command_api.relay.publish import Publisher
from command_api.relay.setup import setup
from projector.apply.log import LogReader
from tests.conftest import Stack
from tests.integration.relay.stand import covered, flushed, log_records, running, until

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
    """Kafka's connections stay open and nothing answers; for a minute at most, so that what waits for it fails and ends."""
    assert stack.running is not None
    kafka = stack.running.state.part("kafka").process
    assert kafka is not None
    os.kill(kafka.pid, signal.SIGSTOP)
    thaws = threading.Timer(60, os.kill, (kafka.pid, signal.SIGCONT))
    thaws.start()
    try:
        yield
    finally:
        thaws.cancel()
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
    with closing(Publisher(log.kafka, confirmed=0, give_up_s=3)) as publisher:
        publisher.publish(b"k", b"first")
        publisher.mark(1)
        assert publisher.flush(30)
        time.sleep(3.5)  # idle for longer than it may hear nothing
        publisher.publish(b"k", b"second")
        publisher.mark(2)
        assert publisher.flush(30)
        with frozen(stack):
            with pytest.raises(LogUnavailableError, match="acknowledged nothing"):
                _press(publisher, size, 60)
            publisher.close()  # with a request under way, which is never answered: no error that would end the relay
        assert publisher.confirmed == 2


@pytest.mark.timeout(240)
def test_another_consumer_reads_on_where_one_has_heard_nothing(log: Settings, stack: Stack) -> None:
    found: list[tuple[int, bytes]] = []
    quick = _silent(log, 1_000)
    with closing(Publisher(log.kafka, confirmed=0)) as publisher, closing(LogReader(quick.kafka)) as reader:
        reader.open_at(None)
        for turn in range(3):
            with frozen(stack) if turn else nullcontext():
                reader.commit(len(found))  # has no answer while Kafka is frozen, for which a client's end waits
                _until_another_reads(reader)
            for number in range(turn * 5, turn * 5 + 5):
                publisher.publish(None, b"%d" % number)
            assert publisher.flush(60)
            until = time.monotonic() + 60
            while len(found) < turn * 5 + 5:
                found.extend(reader.read(100, 0.1))
                assert time.monotonic() < until, found
    assert found == [(number, b"%d" % number) for number in range(15)]


@pytest.mark.timeout(120)
def test_a_relay_whose_kafka_stands_still_for_longer_begins_anew_and_loses_nothing(
    settings: Settings, stack: Stack
) -> None:
    setup(settings)
    users = [uuid.uuid4() for _ in range(30)]
    with (
        psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as admin,
        running(_silent(settings, 3_000)) as state,
    ):

        def sign_up(some: list[uuid.UUID]) -> None:
            for user in some:
                admin.execute("insert into users (user_id, name) values (%s, 'x')", (user,))

        sign_up(users[:10])
        covered(state, flushed(admin))
        with frozen(stack):
            sign_up(users[10:20])
            until(lambda: "acknowledged nothing" in state.last_error)
        sign_up(users[20:])
        covered(state, flushed(admin))
        assert state.sessions > 1
    made = [uuid.UUID(record["after"]["user_id"]) for record in log_records(settings) if "op" in record]
    assert set(made) == set(users), "what was under way may stand there twice, which readers pass over"


def _silent(settings: Settings, silence_ms: int) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"silence_ms": silence_ms})})


def _until_another_reads(reader: LogReader) -> None:
    """Read nothing until another client does it, without ever waiting long for the first one's end."""
    first = reader._consumer  # the client behind the reader, which nothing else tells
    began = time.monotonic()
    while reader._consumer is first:
        asked = time.monotonic()
        assert reader.read(100, 0.1) == []
        assert (now := time.monotonic()) < asked + 20, "a read that waits for a client's end"
        assert now < began + 60, "no other client"
