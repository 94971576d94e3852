"""A Postgres that hangs, or that no network leads to any more: said at once, and left for a new connection."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from command_api.process.settings import Settings
from command_api.relay import metrics
from command_api.relay.setup import setup
from tests.integration.read_api.proxy import Proxy
from tests.integration.relay.stand import covered, flushed, running, streams, until


def proxy(target: tuple[str, int], told: Connection) -> None:
    """A proxy in a process of its own, since libpq connects without letting this one's threads go on. Mutes when told."""
    between = Proxy(target)
    between.come()
    told.send(between.port)
    told.recv()
    between.mute()
    told.recv()


def test_a_stream_without_a_sign_of_life_is_opened_anew(
    settings: Settings, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "STUCK_S", 0.1)
    setup(settings)
    given = conninfo_to_dict(settings.postgres.relay.get_secret_value())
    spawning = multiprocessing.get_context("spawn")
    tell, told = spawning.Pipe()
    between = spawning.Process(target=proxy, args=((given["host"], int(given["port"] or 5432)), told), daemon=True)
    between.start()
    conninfo = make_conninfo(settings.postgres.relay.get_secret_value(), host="127.0.0.1", port=tell.recv())
    update = {
        "postgres": settings.postgres.model_copy(update={"relay": SecretStr(conninfo)}),
        "relay": settings.relay.model_copy(update={"silence_ms": 600}),
    }
    try:
        with running(settings.model_copy(update=update)) as state:
            until(lambda: not state.reason())
            tell.send("mute")
            until(lambda: "no sign" in state.reason())
            until(lambda: "no sign" in state.last_error)
            admin.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                (settings.relay.slot,),
            )
            streams(state, 2)
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
    finally:
        between.kill()
        between.join()
        tell.close()
        told.close()
