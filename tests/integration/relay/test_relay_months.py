"""A partitioned table in the log: one table, whatever its partitions do; what leaves with an old month is deleted first."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from command_api import months
from command_api.process.settings import Settings
from command_api.relay.setup import setup
from tests.integration.relay.stand import covered, flushed, log_records, running, transactions
from tests.integration.test_commands_messages import id_at

CHANNEL, USER = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
OLD, NEW = datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def source(admin: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A channel with a message of February 2024."""
    admin.execute("insert into channels values (%s, 'general')", (CHANNEL,))
    admin.execute("insert into users (user_id, name) values (%s, 'Ada')", (USER,))
    months.create(admin, date(2024, 2, 1))
    send(admin, OLD, 1)
    return admin


def send(admin: psycopg.Connection[Any], at: datetime, salt: int) -> None:
    admin.execute(
        "insert into messages (message_id, sent_at, channel_id, author_id, body)"
        " values (%s, uuid_extract_timestamp(%s), %s, %s, 'hello')",
        (id_at(at, salt), id_at(at, salt), CHANNEL, USER),
    )


def of_messages(settings: Settings) -> list[list[tuple[str, str]]]:
    """Each transaction that has any: (op, message_id)."""
    found = [
        [
            (change["op"], (change["after"] or change["before"])["message_id"])
            for change in changes
            if (change["source"]["schema"], change["source"]["table"]) == ("public", "messages")
        ]
        for changes in transactions(settings)
    ]
    assert not [c for changes in transactions(settings) for c in changes if c["source"]["schema"] != "public"]
    return [changes for changes in found if changes]


def test_months_come_and_go_and_the_log_has_one_table(settings: Settings, source: psycopg.Connection[Any]) -> None:
    setup(settings)
    conninfo = settings.postgres.admin.get_secret_value()
    with running(settings) as state:
        months.create(source, date(2024, 3, 1))  # unknown when the relay began
        send(source, NEW, 1)
        for salt in (2, 3):
            send(source, OLD, salt)
        source.execute("update messages set body = 'bye' where message_id = %s", (id_at(OLD, 2),))
        source.execute("delete from messages where message_id = %s", (id_at(OLD, 3),))
        kept = months.keep(conninfo, ahead=1, months=1, batch=1, today=date(2024, 4, 1))
        assert (kept.dropped, kept.deleted) == ((date(2024, 2, 1),), 2)
        send(source, NEW, 2)
        covered(state, flushed(source))
    old, new = (lambda salt: id_at(OLD, salt)), (lambda salt: id_at(NEW, salt))
    stream = of_messages(settings)
    assert stream[:6] == [
        [("r", old(1))],
        [("c", new(1))],
        [("c", old(2))],
        [("c", old(3))],
        [("u", old(2))],
        [("d", old(3))],
    ]
    assert sorted(stream[6:8]) == sorted([[("d", old(1))], [("d", old(2))]])
    assert stream[8:] == [[("c", new(2))]]


def test_set_up_mends_a_publication_that_names_partitions(settings: Settings, source: psycopg.Connection[Any]) -> None:
    source.execute(f'create publication "{settings.relay.publication}" for table messages'.encode())
    setup(settings)
    assert source.execute("select pubviaroot from pg_publication").fetchall() == [(True,)]
    with running(settings) as state:
        send(source, OLD, 2)
        covered(state, flushed(source))
    assert of_messages(settings) == [[("r", id_at(OLD, 1))], [("c", id_at(OLD, 2))]]


def test_a_partitions_own_order_of_columns_is_not_told(settings: Settings, source: psycopg.Connection[Any]) -> None:
    """Its columns have other numbers than the table's, which are told by snapshot and stream alike."""
    setup(settings)
    create, attach = months.creation(date(2024, 3, 1))
    table = create.split()[2]
    with running(settings) as state:
        source.execute(f"create table {table} (gone int, like messages including all)".encode())
        source.execute(f"alter table {table} drop column gone".encode())
        source.execute(attach.encode())
        send(source, NEW, 1)
        send(source, OLD, 2)
        covered(state, flushed(source))  # the numbers that are told are those of when the relay looks
        source.execute("alter table messages drop column version, add column version int not null default 1")
        send(source, NEW, 2)
        covered(state, flushed(source))
    ends = [value["columns"] for value in log_records(settings) if value.get("status") == "END"]
    snapshot, first, second, third = (end["public.messages"] for end in ends if "public.messages" in end)
    assert snapshot == first == second
    assert third == {**first, "version": max(first.values()) + 1}
