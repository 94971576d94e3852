"""Where nobody writes, the log's position stays and its time goes on; where the stream is behind, its time stays."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from command_api.process.settings import Settings
from command_api.relay.metrics import RelayState, SlotSampler
from command_api.relay.setup import setup
from tests.integration.relay.stand import covered, flushed, log_records, running, until

FAR = 1 << 50


def _heartbeats(settings: Settings) -> list[tuple[int, int]]:
    """LSN and microseconds of each."""
    return [(value["lsn"], value["ts_us"]) for value in log_records(settings) if "lsn" in value]


def _after(settings: Settings, admin: psycopg.Connection[Any], state: RelayState) -> tuple[int, int]:
    """The last one once something is committed that is not published."""
    admin.execute("create table if not exists aside (n int)")
    admin.execute("insert into aside values (1)")
    covered(state, flushed(admin))
    return _heartbeats(settings)[-1]


def test_nobody_writes_and_the_log_says_until_when(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        token = flushed(admin)
        covered(state, token)
        # Other tests may write to these servers: what tells time alone from a position that moved is a time to come.
        state.flushed = (token, time.time_ns() // 1000 + 3_600_000_000)
        lsn, at = until(lambda: next((each for each in _heartbeats(settings) if each[1] == state.flushed[1]), None))
        assert lsn >= token
        next_heartbeat = _after(settings, admin, state)
    assert next_heartbeat == (next_heartbeat[0], at), "no time is taken back"
    assert next_heartbeat[0] > lsn


def test_a_sample_is_of_the_server(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    state, began = RelayState(), time.time_ns() // 1000
    sampler = SlotSampler(state, settings.postgres.relay.get_secret_value(), settings.relay.slot)
    try:
        for _ in range(2):
            admin.execute("create table if not exists aside (n int)")
            token = flushed(admin)
            until(lambda token=token: state.flushed[0] >= token)
            assert began <= state.flushed[1] <= time.time_ns() // 1000
    finally:
        sampler.close()


def test_a_stream_that_is_behind_does_not_claim_the_present(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        state.flushed = (FAR, time.time_ns() // 1000)
        _after(settings, admin, state)
        known, behind = (_after(settings, admin, state) for _ in range(2))
        assert (behind[0] > known[0], behind[1]) == (True, known[1])
        state.flushed = (behind[0], time.time_ns() // 1000)
        until(lambda: _heartbeats(settings)[-1][1] >= state.flushed[1])
