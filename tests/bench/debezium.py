"""The relay beside a stock Debezium connector, one after the other under the same load: CPU a change, and commit → Kafka.

Both run in processes of their own, as they are documented; a warm-up comes first, so that Java's compiler has seen the
code. CPU is of the capturing process alone. The load for CPU is transactions of 10 inserts as fast as Postgres makes
them; that for delays is single inserts at 200 a second, each timed from the return of its commit until a consumer has it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql

from command_api.process.settings import Settings
from command_api.relay.catalog import Catalog
from command_api.relay.setup import drop_slot, setup
from tests.bench.lag import p99
from tests.e2e.debezium import streaming
from tests.e2e.pipeline import environment

WARM_UP, CHANGES, PER_TRANSACTION = 50_000, 100_000, 10
RATE, SECONDS = 200, 10
SHIPPED = {"poll.interval.ms": "500"}
_DEADLINE_S = 180.0


def measure(settings: Settings) -> dict[str, float]:
    """Changes a CPU second and delays of both, and their ratios; `shipped` is the connector's own poll interval."""
    relay = _measured(settings, _relay)
    tuned = _measured(settings, lambda own, folder: _connector(own, folder, {}))
    shipped = _measured(settings, lambda own, folder: _connector(own, folder, SHIPPED), changes=0)
    return {
        "relay_changes_per_cpu_s": round(relay.per_cpu_s),
        "debezium_changes_per_cpu_s": round(tuned.per_cpu_s),
        "relay_over_debezium_per_cpu_s": round(relay.per_cpu_s / tuned.per_cpu_s, 2),
        "debezium_changes_per_s": round(tuned.per_s),
        "relay_to_kafka_p50_ms": relay.p50_ms,
        "relay_to_kafka_p99_ms": relay.p99_ms,
        "debezium_to_kafka_p50_ms": tuned.p50_ms,
        "debezium_to_kafka_p99_ms": tuned.p99_ms,
        "debezium_shipped_to_kafka_p50_ms": shipped.p50_ms,
        "debezium_shipped_to_kafka_p99_ms": shipped.p99_ms,
        "relay_over_debezium_p50": round(relay.p50_ms / tuned.p50_ms, 3),
    }


class _Measured(msgspec.Struct):
    per_cpu_s: float
    per_s: float
    p50_ms: float
    p99_ms: float


Capture = Callable[[Settings, Path], contextlib.AbstractContextManager[psutil.Process]]


def _measured(settings: Settings, capture: Capture, changes: int = CHANGES) -> _Measured:
    with _source(settings) as (own, connection), tempfile.TemporaryDirectory() as folder:
        log = _Log(own)
        try:
            with capture(own, Path(folder)) as process:
                last = _drain(connection, own, log, 0, WARM_UP if changes else WARM_UP // 10)[0]
                seconds = cpu = 0.0
                if changes:
                    last, seconds, cpu = _drain(connection, own, log, last, changes, process)
                delays = _delays(connection, own, log, last)
        finally:
            log.close()
    return _Measured(
        per_cpu_s=changes / cpu if cpu else 0.0,
        per_s=changes / seconds if seconds else 0.0,
        p50_ms=round(statistics.median(delays) * 1_000, 2),
        p99_ms=round(p99(delays) * 1_000, 2),
    )


@contextlib.contextmanager
def _relay(settings: Settings, folder: Path) -> Iterator[psutil.Process]:
    argv = [sys.executable, "-m", "command_api.relay", "run", "--no-metrics"]
    with (folder / "relay.log").open("wb") as output:
        process = subprocess.Popen(argv, env=dict(os.environ) | environment(settings), stdout=output, stderr=output)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def _connector(settings: Settings, folder: Path, more: dict[str, str]) -> Iterator[psutil.Process]:
    with streaming(settings, folder, more, options=("-XX:+UseG1GC",)) as connector:
        yield psutil.Process(connector.pid)


def _drain(
    connection: psycopg.Connection[Any],
    settings: Settings,
    log: _Log,
    last: int,
    changes: int,
    process: psutil.Process | None = None,
) -> tuple[int, float, float]:
    """Insert and wait for the log; the last id, seconds, CPU seconds of the process."""
    began, before = time.monotonic(), _cpu(process)
    connection.execute("set synchronous_commit = off")
    connection.execute(
        sql.SQL(
            "do $$ begin for i in 0..{last} loop insert into {table} select {first} + i * {n} + j, gen_random_uuid(),"
            " 'placed', 'region ' || (i % 50), clock_timestamp(), 1 from generate_series(1, {n}) j; commit;"
            " end loop; end $$"
        ).format(
            table=sql.Identifier(settings.relay.slot),
            first=sql.Literal(last),
            n=sql.Literal(PER_TRANSACTION),
            last=sql.Literal(changes // PER_TRANSACTION - 1),
        )
    )
    log.wait_for(last + changes)
    return last + changes, time.monotonic() - began, _cpu(process) - before


def _cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return times.user + times.system


def _delays(connection: psycopg.Connection[Any], settings: Settings, log: _Log, last: int) -> list[float]:
    """Seconds from the return of each commit until the log has its change."""
    connection.execute("set synchronous_commit = on")
    insert = sql.SQL("insert into {} values (%s, gen_random_uuid(), 'placed', 'eu', clock_timestamp(), 1)").format(
        sql.Identifier(settings.relay.slot)
    )
    committed: dict[int, float] = {}
    began = time.perf_counter()
    for number in range(RATE * SECONDS):
        wait = began + number / RATE - time.perf_counter()
        if wait > 0:
            time.sleep(wait)  # until the next commit of the rate
        connection.execute(insert, (last + number + 1,))
        committed[last + number + 1] = time.perf_counter()
    log.wait_for(last + RATE * SECONDS)
    seen = log.arrivals()
    # The first second warms up; a change may be there before its commit has returned to us.
    return [max(0.0, seen[order] - at) for order, at in committed.items() if order > last + RATE]


class _Key(msgspec.Struct):
    order_id: int = 0


class _Log:
    """A consumer on a thread: the highest order seen, and when each came."""

    def __init__(self, settings: Settings) -> None:
        self._arrived: dict[int, float] = {}
        self._highest = 0
        self._errors: queue.Queue[str] = queue.Queue()
        self._stop = threading.Event()
        properties = {
            **settings.kafka.client_properties(),
            "group.id": settings.relay.slot,
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,
        }
        self._consumer = Consumer(properties)
        self._consumer.assign([TopicPartition(settings.kafka.topic, 0, 0)])
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        decode = msgspec.json.Decoder(_Key).decode
        while not self._stop.is_set():
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            now = time.perf_counter()
            for message in (first, *self._consumer.consume(1_000, 0)):
                key = message.key()
                if message.error() is not None or key is None:
                    self._errors.put(str(message.error()))
                    continue
                order = decode(key).order_id
                if order > self._highest:
                    self._highest = order
                    self._arrived[order] = now

    def wait_for(self, order: int) -> None:
        """Until the order is in the log."""
        deadline = time.monotonic() + _DEADLINE_S
        while self._highest < order:
            if time.monotonic() > deadline:
                errors = [self._errors.get() for _ in range(self._errors.qsize())]
                raise RuntimeError(f"the log has {self._highest} of {order} within {_DEADLINE_S} s: {errors[:3]}")
            time.sleep(0.002)  # the deadline is above; what is measured is stamped by the thread

    def arrivals(self) -> dict[int, float]:
        """Order to the moment that it was here."""
        return dict(self._arrived)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()


@contextlib.contextmanager
def _source(settings: Settings) -> Iterator[tuple[Settings, psycopg.Connection[Any]]]:
    """A table, publication, slot and topic of their own, and the settings that name them."""
    name = f"bench_debezium_{secrets.token_hex(4)}"
    admin = settings.postgres.admin.get_secret_value()
    relay = {"slot": name, "publication": name, "tables": (f"public.{name}",)}
    own = settings.model_copy(
        update={
            "relay": settings.relay.model_copy(update=relay),
            "kafka": settings.kafka.model_copy(update={"topic": name.replace("_", "-")}),
        }
    )
    with psycopg.connect(admin, autocommit=True) as connection:
        table = sql.Identifier(name)
        connection.execute(
            sql.SQL(
                "create table {} (order_id bigint primary key, user_id uuid not null, status text not null,"
                " region text, created_at timestamptz not null, version int not null)"
            ).format(table)
        )
        try:
            setup(own)
            yield own, connection
        finally:
            with Catalog(admin) as catalog:
                drop_slot(catalog, name)
            connection.execute(sql.SQL("drop publication if exists {}").format(table))
            connection.execute(sql.SQL("drop table {}").format(table))
            kafka = AdminClient({**own.kafka.client_properties(), "log_level": 3})
            for future in kafka.delete_topics([own.kafka.topic]).values():
                future.exception(20)
