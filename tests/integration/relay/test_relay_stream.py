"""The running relay on real servers: crashes, cuts and servers that are away lose and double nothing."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Producer
from psycopg.conninfo import make_conninfo

from command_api import envelope
from command_api.process.settings import Settings
from command_api.relay import loop
from command_api.relay.catalog import Catalog
from command_api.relay.metrics import RelayState, served
from command_api.relay.setup import setup
from command_api.relay.tail import position, read_tail
from tests.http_client import HTTP
from tests.integration.relay.stand import (
    DEADLINE_S,
    confirmed,
    covered,
    flushed,
    grows,
    log_length,
    log_records,
    process,
    running,
    streams,
    transactions,
    until,
)


def test_a_commit_that_publishes_nothing_is_covered_within_milliseconds(
    settings: Settings, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("create table aside (n int)")
    setup(settings)
    waits = []
    with running(settings) as state:
        covered(state, flushed(admin))
        for _ in range(20):
            admin.execute("insert into aside values (1)")
            token, began = flushed(admin), time.monotonic()
            while state.published < token:
                assert time.monotonic() < began + DEADLINE_S
                time.sleep(0.0005)  # the deadline is above; short, because this is what is measured
            waits.append(time.monotonic() - began)
            time.sleep(0.03)  # a stream that is idle again is what is measured
        until(lambda: state.outstanding == 0)
        assert sorted(waits)[10] < 0.05, waits
        beats = state.heartbeats
        with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
            slot = until(lambda: (found := catalog.slot(settings.relay.slot)) and found.confirmed >= token and found)
        assert slot.active_pid is not None
    assert beats >= 20
    assert read_tail(settings.kafka).position is not None


def test_killed_at_any_moment_no_transaction_is_lost_or_doubled(
    settings: Settings, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    setup(settings)
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            while not stop.wait(0.002):
                connection.execute(
                    "insert into users (user_id, name) select gen_random_uuid(), 'x' from generate_series(1, 20)"
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_ in range(8):
            with process(settings, tmp_path):
                grows(settings, log_length(settings))
                time.sleep(0.05 * round_)  # another moment for each kill
    finally:
        stop.set()
        writer.join()
    with running(settings) as state:
        covered(state, flushed(admin))
    ids = [change["after"]["user_id"] for changes in transactions(settings, killed=True) for change in changes]
    assert len(ids) == len(set(ids))
    assert {(i,) for i in ids} == set(admin.execute("select user_id::text from users").fetchall())


def test_sigterm_leaves_everything_confirmed(
    settings: Settings, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    setup(settings)
    with process(settings, tmp_path) as relay:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
        token = flushed(admin)
        until(lambda: confirmed(settings) >= token or log_length(settings) > 4)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(DEADLINE_S) == 0
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        slot = catalog.slot(settings.relay.slot)
    assert slot is not None
    assert slot.confirmed >= token
    assert "stopped" in (tmp_path / "relay.log").read_text()


def test_a_connection_cut_by_postgres_is_made_again(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        for sessions in (1, 2, 3):
            streams(state, sessions)
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
            admin.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                (settings.relay.slot,),
            )
        streams(state, 4)
        assert (state.errors, state.last_error_at > 0) == (3, True)
    assert len([changes for changes in transactions(settings) if changes]) == 3


def test_a_second_relay_waits_for_the_slot(settings: Settings) -> None:
    setup(settings)
    with running(settings):
        state, stop = RelayState(), threading.Event()
        second = threading.Thread(target=loop.run, args=(settings, state, stop))
        second.start()
        until(lambda: "active" in state.last_error)
        assert not state.streaming
        stop.set()
        second.join(DEADLINE_S)
        assert not second.is_alive()


def test_a_long_unfinished_end_of_the_log_is_read_over(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    report = setup(settings)
    producer = Producer({**settings.kafka.client_properties(), "queue.buffering.max.messages": 1_000_000})
    change = json.dumps({"before": None, "after": {"id": 1}, "op": "c", "ts_ms": 1, "source": {"table": "t"}}).encode()
    producer.produce(settings.kafka.topic, envelope.begin(b"1:1", 1), b"{}", 0)
    for _ in range(200_000):
        producer.produce(settings.kafka.topic, change, b"{}", 0)
    producer.flush(30)
    tail = read_tail(settings.kafka)
    assert (tail.position, tail.unfinished) == (report.position, 200_001)
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
    with running(settings) as state:
        covered(state, flushed(admin))
    assert len(transactions(settings)[-1]) == 1


def test_without_kafka_the_relay_waits_and_postgres_hears_from_it(settings: Settings) -> None:
    setup(settings)
    gone = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})})
    state, stop = RelayState(), threading.Event()
    thread = threading.Thread(target=loop.run, args=(gone, state, stop))
    thread.start()
    try:
        until(lambda: state.errors >= 1)
        assert "log" in state.last_error
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_metrics_and_probes_are_served(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        server = served(state, "127.0.0.1", 0)
        try:
            base = f"http://127.0.0.1:{server.port}"
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
            until(lambda: "relay_transactions_total 1.0" in HTTP.get(f"{base}/metrics").text)
            assert HTTP.get(f"{base}/healthz").json() == {"status": "ok"}
            assert HTTP.get(f"{base}/readyz").json() == {"status": "ready"}
            state.streaming = False
            assert HTTP.get(f"{base}/readyz").status_code == 503
            assert HTTP.get(f"{base}/readyz").json()["reason"].startswith("not streaming: ")
            assert HTTP.get(f"{base}/healthz").status_code == 200
            state.streaming = True
        finally:
            server.close()


def test_a_large_transaction_passes_in_flat_memory(
    settings: Settings, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    rows = 200_000
    setup(settings)
    with process(settings, tmp_path) as relay:
        until(lambda: "streaming" in (tmp_path / "relay.log").read_text())
        before = _resident_mb(relay.pid)
        admin.execute(
            "insert into users (user_id, name) select gen_random_uuid(), repeat('x', 200) from generate_series(1, %s)",
            (rows,),
        )
        token, peak = flushed(admin), 0.0
        deadline = time.monotonic() + 120
        while confirmed(settings) < token:
            peak = max(peak, _resident_mb(relay.pid))
            assert time.monotonic() < deadline
            time.sleep(0.02)  # the deadline is above; samples of the memory
    assert peak - before < 150, (before, peak)
    assert len(transactions(settings)[-1]) == rows


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def test_an_unreachable_postgres_is_waited_for(settings: Settings) -> None:
    conninfo = make_conninfo(settings.postgres.relay.get_secret_value(), port="9", host="127.0.0.1")
    gone = settings.model_copy(
        update={"postgres": settings.postgres.model_copy(update={"relay": type(settings.postgres.relay)(conninfo)})}
    )
    state, stop = RelayState(), threading.Event()
    thread = threading.Thread(target=loop.run, args=(gone, state, stop))
    thread.start()
    until(lambda: state.errors >= 2)
    stop.set()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_positions_in_the_log_only_rise(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    for _ in range(3):
        with running(settings) as state:
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
    positions = [position(envelope.decode(json.dumps(value).encode())) for value in log_records(settings)]
    found = [lsn for lsn in positions if lsn is not None]
    assert found == sorted(set(found))
