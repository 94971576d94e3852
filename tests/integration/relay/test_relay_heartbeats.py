"""``relay heartbeats``: positions for a log that a connector writes, and an end when the slot can't be trusted."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from command_api import envelope
from command_api.process.settings import Settings
from command_api.relay import continuity, heartbeats
from command_api.relay.catalog import Catalog
from command_api.relay.errors import HistoryError
from command_api.relay.replication import ReplicationConnection
from command_api.relay.setup import drop_slot, setup
from command_api.relay.tail import read_tail
from tests.integration.relay.stand import beating, flushed, until


def _furthest(settings: Settings, admin: psycopg.Connection[Any]) -> int:
    """The last position that the slot's stream has for this publication."""
    rows = admin.execute(
        "select (lsn - '0/0')::bigint from pg_logical_slot_peek_binary_changes(%s, null, null, 'proto_version', '1',"
        " 'publication_names', %s, 'messages', 'true')",
        (settings.relay.slot, settings.relay.publication),
    ).fetchall()
    return int(rows[-1][0]) if rows else 0


def test_what_nobody_publishes_is_followed_by_a_position(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    assert _furthest(settings, admin) == 0
    with beating(settings) as failures:
        for name in ("one", "two"):
            admin.execute(f"create table {name} (id int)")
            token = int(flushed(admin))
            until(lambda token=token: failures or _furthest(settings, admin) >= token)
            assert not failures


def test_a_slot_that_is_gone_ends_them(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog, beating(settings) as failures:
        until(lambda: failures or _furthest(settings, admin))
        drop_slot(catalog, settings.relay.slot)
        until(lambda: failures)
    assert isinstance(failures[0], HistoryError)
    assert "behind a gap. Stop the connector" in str(failures[0])
    with pytest.raises(HistoryError, match="missing, though the log goes up to"):
        heartbeats.run(settings, threading.Event())


def test_their_history_is_that_of_a_connectors_log(settings: Settings) -> None:
    position, conninfo = setup(settings).position, settings.postgres.admin.get_secret_value()
    with Catalog(conninfo) as catalog:
        slot, (flushed_to, _) = catalog.slot(settings.relay.slot), catalog.flushed()
    content = base64.b64encode(b"1/1").decode()
    records = (
        {"status": "BEGIN", "id": f"5:{position}"},
        {"op": "m", "source": {}, "message": {"prefix": envelope.HEARTBEAT_PREFIX, "content": content}},
        {"status": "END", "id": f"5:{position + 8}", "event_count": 1},
    )
    producer = Producer(settings.kafka.client_properties())
    for record in records:
        producer.produce(settings.kafka.topic, json.dumps(record).encode())
    producer.flush(10)
    tail = read_tail(settings.kafka)
    assert (tail.position, tail.history) == (position + 8, "1/1")
    with ReplicationConnection(conninfo) as connection, pytest.raises(HistoryError, match="of another server"):
        continuity.check(
            slot_name=settings.relay.slot, slot=slot, tail=tail, identity=connection.identify(), flushed=flushed_to
        )
