"""Set-up and snapshots on real servers: what the log begins with equals what was committed."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from command_api.process.settings import Settings
from command_api.relay import loop
from command_api.relay.errors import SetupError, SourceUnavailableError
from command_api.relay.fresh_snapshot import fresh_snapshot
from command_api.relay.metrics import RelayState
from command_api.relay.publish import Publisher
from command_api.relay.setup import make_topic, setup
from command_api.relay.status import read_status
from command_api.relay.tail import read_tail
from tests.integration.relay.stand import (
    covered,
    flushed,
    for_tables,
    running,
    transactions,
    until,
)


def test_a_topic_that_was_made_meanwhile_is_taken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another set-up, or so lately that the broker which is asked has not heard of it."""
    monkeypatch.setattr("command_api.relay.setup.reached", lambda *_: SimpleNamespace(topics={}))
    make_topic(settings.kafka)
    make_topic(settings.kafka.model_copy(update={"max_message_bytes": 1 << 20}))
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, settings.kafka.topic)
    (found,) = admin.describe_configs([resource]).values()
    assert found.result(20)["max.message.bytes"].value == str(1 << 20)


def test_set_up_may_be_repeated_and_goes_on_from_an_interruption(
    settings: Settings, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute(
        "insert into users (user_id, name) select gen_random_uuid(), 'u' || i from generate_series(1, 2000) i"
    )
    published = Publisher.publish
    count = 0

    def failing(publisher: Publisher, key: bytes | None, value: bytes) -> None:
        nonlocal count
        count += 1
        if count == 1500:
            raise SourceUnavailableError("the connection broke")
        published(publisher, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", failing)
        with pytest.raises(SourceUnavailableError, match="broke"):
            setup(settings)
    assert read_tail(settings.kafka).position is None
    with pytest.raises(SetupError, match=r"no whole snapshot.*relay setup"):
        loop.run(settings, RelayState(), threading.Event())
    admin.execute("delete from users where name = 'u1'")
    first = setup(settings)
    assert first.snapshot_rows == 1999
    again = setup(settings)
    assert (again.snapshot_rows, again.position) == (None, first.position)
    (rows,) = transactions(settings)
    assert len(rows) == 1999
    assert {row["op"] for row in rows} == {"r"}
    assert read_status(settings).problem == ""


def test_a_fresh_snapshot_stands_in_the_log_at_its_place(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'a')")
        covered(state, flushed(admin))
        with pytest.raises(SetupError, match="Stop it"):
            fresh_snapshot(settings)
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
                connection.execute("delete from users where name = 'x' and random() < 0.005")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: admin.execute("select count(*) > 100 from users").fetchone() == (True,))
        report = fresh_snapshot(settings)
    finally:
        stop.set()
        writer.join()
    with running(settings) as state:
        covered(state, flushed(admin))
    # A reader that starts at the newest snapshot has the same rows as one that starts at the log's beginning.
    all_, place = transactions(settings), 0
    for i, changes in enumerate(all_):
        if any(change["op"] == "r" for change in changes):
            assert len(changes) == report.snapshot_rows
            place = i
    expected = {row[0] for row in admin.execute("select user_id::text from users").fetchall()}
    for start in (0, place):
        rows: set[str] = set()
        for change in (change for changes in all_[start:] for change in changes):
            if change["op"] == "d":
                rows.discard(change["before"]["user_id"])
            else:
                rows.add(change["after"]["user_id"])
        assert rows == expected


def test_changes_between_snapshot_and_start_arrive_once(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: admin.execute("select count(*) > 100 from users").fetchone() == (True,))
        setup(settings)
        with running(settings) as state:
            until(lambda: state.changes > 200)
            stop.set()
            writer.join()
            covered(state, flushed(admin))
    finally:
        stop.set()
        writer.join()
    ids = [change["after"]["user_id"] for changes in transactions(settings) for change in changes]
    assert len(ids) == len(set(ids))
    assert {(i,) for i in ids} == set(admin.execute("select user_id::text from users").fetchall())


def test_a_table_that_can_not_be_captured_is_refused(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    admin.execute("create table keyless (n int)")
    admin.execute("create table indexed (id int primary key, n int not null unique)")
    admin.execute("alter table indexed replica identity using index indexed_n_key")
    for table, words in (
        ("keyless", "no primary key"),
        ("indexed", "REPLICA IDENTITY DEFAULT"),
        ("nowhere", "migrations"),
    ):
        with pytest.raises(SetupError, match=words):
            setup(for_tables(settings, table))
