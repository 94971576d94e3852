"""Where nobody writes, the log's position stays and its time goes on; where the stream is behind, its time stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from command_api.process.settings import Settings
from command_api.relay.metrics import RelayState, SlotSampler
from command_api.relay.setup import setup
from tests.integration.relay.stand import covered, flushed, log_records, running, until

FAR = 1 << 50


@contextmanager
def sampled(settings: Settings) -> Iterator[RelayState]:
    """A relay as `relay run` starts it."""
    with running(settings) as state:
        sampler = SlotSampler(state, settings.postgres.relay.get_secret_value(), settings.relay.slot)
        try:
            yield state
        finally:
            sampler.close()


def _heartbeats(settings: Settings) -> list[tuple[int, int]]:
    """LSN and microseconds of each."""
    return [(value["lsn"], value["ts_us"]) for value in log_records(settings) if "lsn" in value]


def test_nobody_writes_and_the_log_says_until_when(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with sampled(settings) as state:
        covered(state, flushed(admin))
        began = time.time_ns() // 1000
        # Where others write meanwhile, positions move as well; where they don't, the same one is said again.
        until(lambda: (found := _heartbeats(settings)) and found[-1][1] > began + 2_000_000)
        found = _heartbeats(settings)
    assert [at for _, at in found] == sorted({at for _, at in found}), "no time is said twice"
    assert found[-1][1] <= time.time_ns() // 1000


def test_a_stream_that_is_behind_does_not_claim_the_present(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    admin.execute("create table aside (n int)")
    setup(settings)

    def next_heartbeat(state: RelayState) -> tuple[int, int]:
        admin.execute("insert into aside values (1)")
        covered(state, flushed(admin))
        return _heartbeats(settings)[-1]

    with running(settings) as state:
        state.flushed = (FAR, time.time_ns() // 1000)
        next_heartbeat(state)
        known, behind = next_heartbeat(state), next_heartbeat(state)
        assert (behind[0] > known[0], behind[1]) == (True, known[1])
        state.flushed = (behind[0], time.time_ns() // 1000)
        until(lambda: _heartbeats(settings)[-1][1] >= state.flushed[1])
