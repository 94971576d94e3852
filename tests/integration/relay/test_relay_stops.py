"""What the relay refuses to go on with: misfits of slot, log and history, and records that Kafka refuses."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from command_api import envelope
from command_api.lsn import Lsn
from command_api.process.settings import Settings
from command_api.relay import heartbeats, loop, status
from command_api.relay.catalog import Catalog
from command_api.relay.errors import HistoryError, SetupError, StoppedError
from command_api.relay.metrics import RelayState
from command_api.relay.publish import Publisher
from command_api.relay.setup import drop_slot, setup
from command_api.relay.status import read_status
from command_api.relay.tail import Tail, read_tail
from tests.integration.relay.stand import (
    DEADLINE_S,
    beating,
    covered,
    flushed,
    running,
    transactions,
    until,
)


def _refused(settings: Settings, error: type[StoppedError], words: str) -> None:
    with pytest.raises(error, match=words):
        loop.run(settings, RelayState(), threading.Event())


def _is_idle(admin: psycopg.Connection[Any], slot: str) -> bool:
    """Whether nobody has the slot: Postgres lets go of it some time after the connection was closed."""
    return admin.execute("select from pg_replication_slots where slot_name = %s and not active", (slot,)).rowcount == 1


def test_what_does_not_fit_stops_the_relay(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    _refused(settings, SetupError, "publication|slot.*relay setup")
    setup(settings)
    kafka = settings.kafka
    missing = settings.model_copy(update={"kafka": kafka.model_copy(update={"topic": f"{kafka.topic}-missing"})})
    _refused(missing, SetupError, "is missing.*relay setup")
    assert "missing" in read_status(missing).problem
    wide = f"{kafka.topic}-wide"
    client = AdminClient(kafka.client_properties())
    client.create_topics([NewTopic(wide, num_partitions=2)])[wide].result(10)
    try:
        _refused(
            settings.model_copy(update={"kafka": kafka.model_copy(update={"topic": wide})}), SetupError, "2 partitions"
        )
    finally:
        client.delete_topics([wide])[wide].result(10)

    ahead = int(flushed(admin))
    with running(settings) as state:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
        covered(state, flushed(admin))
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'y')")
    until(lambda: _is_idle(admin, settings.relay.slot))
    moved = admin.execute(
        "select end_lsn::text from pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", (settings.relay.slot,)
    ).fetchone()
    assert moved is not None
    assert Lsn.parse(moved[0]) > ahead
    _refused(settings, HistoryError, "ahead of the log.*lost.*new topic")
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        drop_slot(catalog, settings.relay.slot)
    _refused(settings, HistoryError, "missing, though the log goes up to.*new topic")
    with pytest.raises(HistoryError, match="new topic"):
        setup(settings)


@pytest.mark.parametrize("history", ["1/1", "{system}/9"])
def test_another_history_stops_the_relay(settings: Settings, admin: psycopg.Connection[Any], history: str) -> None:
    report = setup(settings)
    (system,) = admin.execute("select system_identifier::text from pg_control_system()").fetchone() or ("",)
    producer = Producer(settings.kafka.client_properties())
    beat = envelope.heartbeat(report.position, 1, history.format(system=system))
    producer.produce(settings.kafka.topic, beat, b"{}", 0)
    producer.flush(10)
    _refused(settings, HistoryError, "new topic")


def test_a_log_that_grows_while_it_is_looked_at_is_no_older_copys(
    settings: Settings, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's position has to be asked for after the log's end: others are writing both."""
    setup(settings)

    def later(*args: Any, **kwargs: Any) -> Tail:
        """The log's end, after a transaction that came in between."""
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
        covered(state, flushed(admin))
        return read_tail(*args, **kwargs)

    for module in (status, heartbeats):
        monkeypatch.setattr(module, "read_tail", later)
    with running(settings) as state:
        assert read_status(settings).problem == ""
        said = list[str]()
        monkeypatch.setattr(heartbeats, "_say", lambda _catalog, history: said.append(history))
        with beating(settings) as failures:
            until(lambda: failures or said)
            assert not failures


def test_a_relay_that_slept_until_another_had_its_slot_goes_on(
    settings: Settings, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has taken the slot and is about to read the log's end when it stops for longer than Postgres waits for it."""
    setup(settings)
    slept = []

    def asleep(*args: Any, **kwargs: Any) -> Tail:
        monkeypatch.setattr(loop, "read_tail", read_tail)
        (pid,) = admin.execute(
            "select active_pid from pg_replication_slots where slot_name = %s", (settings.relay.slot,)
        ).fetchone() or (None,)
        admin.execute("select pg_terminate_backend(%s, 10000)", (pid,))
        with running(settings) as other:
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(other, flushed(admin))
            slept.append(pid)
        return read_tail(*args, **kwargs)

    monkeypatch.setattr(loop, "read_tail", asleep)
    with running(settings) as state:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'y')")
        covered(state, flushed(admin))
    assert slept


def test_a_record_that_is_too_large_stops_the_relay_and_confirms_nothing_after_it(
    settings: Settings, admin: psycopg.Connection[Any]
) -> None:
    small = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"max_message_bytes": 1_000_000})})
    setup(small)
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'first')")
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), repeat('x', 2000000))")
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'last')")
    _refused(small, SetupError, "larger than kafka.max_message_bytes.*Raise")
    setup(settings)  # raises the topic's limit
    with running(settings) as state:
        covered(state, flushed(admin))
    names = [change["after"]["name"][:5] for changes in transactions(settings) for change in changes]
    assert names == ["first", "xxxxx", "last"]


def test_a_refused_delivery_confirms_nothing_after_it(settings: Settings, stack: Any) -> None:
    """The broker refuses a batch that the client thinks small enough: the topic's limit is below the producer's."""
    client = AdminClient(settings.kafka.client_properties())
    narrow = f"{settings.kafka.topic}-narrow"
    client.create_topics([NewTopic(narrow, num_partitions=1, config={"max.message.bytes": "20000"})])[narrow].result(10)
    own = settings.kafka.model_copy(update={"topic": narrow})
    publisher = Publisher(own, confirmed=1)
    try:
        publisher.publish(None, b"small")
        publisher.mark(2)
        assert publisher.flush(DEADLINE_S)
        publisher.publish(None, b"x" * 50_000)
        publisher.mark(3)
        for lsn in range(4, 50):
            publisher.publish(None, b"small")
            publisher.mark(lsn)
        with pytest.raises(StoppedError, match="max_message_bytes"):
            publisher.flush(DEADLINE_S)
        assert publisher.confirmed == 2
        with pytest.raises(StoppedError):
            publisher.service()
    finally:
        publisher.close(0.1)
        client.delete_topics([narrow])[narrow].result(10)


def test_a_key_counts_like_its_value(settings: Settings) -> None:
    """librdkafka would refuse the record amid its batch and take those behind it."""
    setup(settings)
    publisher = Publisher(settings.kafka.model_copy(update={"max_message_bytes": 1_000_000}), confirmed=1)
    try:
        for key, value in ((b"a", b"small"), (b"k" * 20_000, b"x" * 990_000), (b"c", b"small")):
            publisher.publish(key, value)
        publisher.mark(2)
        with pytest.raises(StoppedError, match="max_message_bytes"):
            publisher.flush(DEADLINE_S)
        assert publisher.confirmed == 1
    finally:
        publisher.close(0.1)
