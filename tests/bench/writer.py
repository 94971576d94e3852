"""The writer beside the plain driver: the same rows in the same batches, in alternating rounds of one run.

Each way gets its values ready-made in its own form (the driver: UUID objects and integers; the writer: replica values),
so that only binding, sending and acknowledgement are measured. Every 10,000 rows all are acknowledged, as a worker does.
Medians over the rounds; CPU is this process's, Cassandra's is not in it. Run alone: ``python -m tests.bench.writer``.
"""

from __future__ import annotations

import json
import random
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import BatchStatement, BatchType

from command_api.process.settings import Settings
from projections.cassandra_table import CassandraTable, cassandra_table, write_timestamp
from projector.cassandra.batches import Bounds, batches, by_partition
from projector.cassandra.encode import RowEncoder
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from tests.bench.orders import ORDERS_WITH_NAME

_ROUNDS = 5
_ROWS = 50_000
_CONCURRENT_ROWS = 5_000
_ACKNOWLEDGED_EVERY = 10_000
_USERS = 5_000
_SINGLE_WRITES = 500


def measure(settings: Settings) -> dict[str, float]:
    """Rows per second of each way, the writer's CPU seconds per 100,000 rows, and a single row's latency in ms.

    Makes and drops a keyspace of its own beside the configured one.
    """
    keyspace = f"{settings.cassandra.keyspace}_writer_bench"
    session = connect(settings.cassandra)
    try:
        replication = json.dumps(settings.cassandra.replication).replace('"', "'")
        session.execute(f"DROP KEYSPACE IF EXISTS {keyspace}")
        session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
        table = cassandra_table(ORDERS_WITH_NAME, keyspace)
        session.execute(table.create())
        try:
            return _rounds(settings, session, table)
        finally:
            session.execute(f"DROP KEYSPACE {keyspace}")
    finally:
        close(session)


def _rounds(settings: Settings, session: Session, table: CassandraTable) -> dict[str, float]:
    rows = _replica_rows(table)
    bounds = settings.projector
    driver = PlainDriver(settings, session, table)
    writer = Writer(
        session,
        rows_per_batch=bounds.rows_per_batch,
        batch_bytes=bounds.batch_bytes,
        partitions_per_batch=bounds.partitions_per_batch,
        in_flight=bounds.batches_in_flight,
    )
    writer.prepare(table)
    versions = iter(range(1, 1_000_000))

    def by_writer(some: Sequence[tuple[Any, ...]]) -> None:
        writer.upsert(table.name, some, write_timestamp(1, next(versions)))
        writer.drain()

    rates: dict[str, list[float]] = {"writer": [], "driver": [], "concurrent": []}
    cpu: list[float] = []
    by_writer(rows[:_ACKNOWLEDGED_EVERY])
    driver.batches_per_s(rows[:_ACKNOWLEDGED_EVERY])
    for _ in range(_ROUNDS):
        rates["driver"].append(driver.batches_per_s(rows))
        rate, seconds = _rate(by_writer, rows)
        rates["writer"].append(rate)
        cpu.append(seconds)
        rates["concurrent"].append(driver.concurrent_per_s(rows))
    latencies = []
    for index in range(_SINGLE_WRITES):
        began = time.perf_counter()
        by_writer(rows[index : index + 1])
        latencies.append(time.perf_counter() - began)
    latencies.sort()
    return {
        "writer_rows_per_s": statistics.median(rates["writer"]),
        "writer_vs_driver": statistics.median(w / d for w, d in zip(rates["writer"], rates["driver"], strict=True)),
        "writer_cpu_s_per_100k": statistics.median(cpu),
        "writer_single_row_p50_ms": latencies[len(latencies) // 2] * 1000,
        "writer_single_row_p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


class PlainDriver:
    """What a careful user of the driver writes, on rows and in batches that are the writer's own.

    cpu_s: CPU seconds of this process in the last `batches_per_s`.
    """

    cpu_s = 0.0

    def __init__(self, settings: Settings, session: Session, table: CassandraTable) -> None:
        self._session = session
        self._table = table
        self._in_flight = settings.projector.batches_in_flight
        self._bounds = Bounds(
            rows=settings.projector.rows_per_batch,
            size=settings.projector.batch_bytes,
            partitions=settings.projector.partitions_per_batch,
        )
        self._statement = session.prepare(table.insert())
        self._statement.consistency_level = ConsistencyLevel.LOCAL_QUORUM

    def batches_per_s(self, rows: Sequence[tuple[Any, ...]]) -> float:
        """Rows per second in unlogged batches; all acknowledged every 10,000 rows."""
        windows = [self._cut(rows[i : i + _ACKNOWLEDGED_EVERY]) for i in range(0, len(rows), _ACKNOWLEDGED_EVERY)]
        cpu, began = time.process_time(), time.perf_counter()
        for window in windows:
            self._write(window)
        seconds = time.perf_counter() - began
        self.cpu_s = time.process_time() - cpu
        return len(rows) / seconds

    def concurrent_per_s(self, rows: Sequence[tuple[Any, ...]]) -> float:
        """Rows per second by `execute_concurrent_with_args`, on as many rows as take a second or so."""
        native = [_driver_row(row, self._table) for row in rows[:_CONCURRENT_ROWS]]
        began = time.perf_counter()
        execute_concurrent_with_args(self._session, self._statement, native)  # at its default of 100 at once
        return len(native) / (time.perf_counter() - began)

    def _cut(self, rows: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        """The writer's batches of these rows, each row as the driver takes it."""
        encoder, width = RowEncoder(self._table), len(self._table.partition_key)
        arranged = by_partition(rows, width)
        entries = encoder.bind(self._statement.query_id, arranged)
        native = [_driver_row(row, self._table) for row in arranged]
        return [native[i:j] for i, j in batches(arranged, entries, width, encoder.row_overhead, self._bounds)]

    def _write(self, window: list[list[tuple[Any, ...]]]) -> None:
        slots = threading.Semaphore(self._in_flight)
        errors: list[BaseException] = []

        def written(_: Any) -> None:
            slots.release()

        def failed(error: BaseException) -> None:
            errors.append(error)
            slots.release()

        for rows in window:
            batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
            for row in rows:
                batch.add(self._statement, row)
            slots.acquire()
            self._session.execute_async(batch).add_callbacks(written, failed)
        for _ in range(self._in_flight):
            slots.acquire()
        if errors:
            raise errors[0]


def _rate(write: Callable[[Sequence[tuple[Any, ...]]], None], rows: Sequence[tuple[Any, ...]]) -> tuple[float, float]:
    """Rows per second, and CPU seconds of this process per 100,000 rows."""
    cpu, began = time.process_time(), time.perf_counter()
    for first in range(0, len(rows), _ACKNOWLEDGED_EVERY):
        write(rows[first : first + _ACKNOWLEDGED_EVERY])
    seconds = time.perf_counter() - began
    return len(rows) / seconds, (time.process_time() - cpu) / len(rows) * 100_000


def _replica_rows(table: CassandraTable) -> list[tuple[Any, ...]]:
    seeded = random.Random(3)
    users = [str(uuid.UUID(int=seeded.getrandbits(128))) for _ in range(_USERS)]
    rows = []
    for index in range(_ROWS):
        user = seeded.randrange(_USERS)
        row = {
            "user_id": users[user],
            "created_at": 1_700_000_000_000_000 + index * 1_000,
            "order_id": str(uuid.UUID(int=seeded.getrandbits(128))),
            "status": seeded.choice(("placed", "paid", "shipped", "delivered")),
            "region": seeded.choice(("eu-west", "eu-north", "us-east")),
            "user_name": f"user {user}",
        }
        rows.append(tuple(row[name] for name in table.columns))
    return rows


def _driver_row(row: tuple[Any, ...], table: CassandraTable) -> tuple[Any, ...]:
    kinds = table.columns.values()
    return tuple(uuid.UUID(value) if kind.cql == "uuid" else value for value, kind in zip(row, kinds, strict=True))


if __name__ == "__main__":
    for name, value in measure(Settings()).items():
        print(f"{name:32} {value:12,.2f}")
