"""The writer beside the plain driver: the same rows in the same batches, in alternating rounds of one run.

Each way gets its values ready-made in its own form (the driver: UUID objects and integers; the writer: replica values),
so that only binding, sending and acknowledgement are measured. Every 5,000 rows all are acknowledged, as a worker does.
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
from projections import READ_MODELS
from projections.cassandra_table import CassandraTable, cassandra_table, write_timestamp
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer

_ROUNDS = 5
_ROWS = 50_000
_CONCURRENT_ROWS = 5_000
_ACKNOWLEDGED_EVERY = 5_000
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
        table = cassandra_table(next(m for m in READ_MODELS if m.name == "orders_by_user"), keyspace)
        session.execute(table.create())
        try:
            return _rounds(settings, session, table)
        finally:
            session.execute(f"DROP KEYSPACE {keyspace}")
    finally:
        close(session)


def _rounds(settings: Settings, session: Session, table: CassandraTable) -> dict[str, float]:
    rows = _replica_rows(table)
    native = [_driver_row(row, table) for row in rows]
    bounds = settings.projector
    writer = Writer(
        session,
        rows_per_batch=bounds.rows_per_batch,
        batch_bytes=bounds.batch_bytes,
        in_flight=bounds.batches_in_flight,
    )
    writer.prepare(table)
    statement = session.prepare(table.insert())
    statement.consistency_level = ConsistencyLevel.LOCAL_QUORUM
    versions = iter(range(1, 1_000_000))

    def by_writer(some: Sequence[tuple[Any, ...]]) -> None:
        writer.upsert(table.name, some, write_timestamp(1, next(versions)))
        writer.drain()

    def by_driver(some: Sequence[tuple[Any, ...]]) -> None:
        _driver_batches(session, statement, some, bounds.rows_per_batch, bounds.batches_in_flight)

    def by_driver_concurrently(some: Sequence[tuple[Any, ...]]) -> None:
        execute_concurrent_with_args(session, statement, some, concurrency=bounds.batches_in_flight)

    rates: dict[str, list[float]] = {"writer": [], "driver": [], "concurrent": []}
    cpu: list[float] = []
    by_writer(rows[:_ACKNOWLEDGED_EVERY])
    by_driver(native[:_ACKNOWLEDGED_EVERY])
    for _ in range(_ROUNDS):
        rates["driver"].append(_rate(by_driver, native)[0])
        rate, seconds = _rate(by_writer, rows)
        rates["writer"].append(rate)
        cpu.append(seconds)
        rates["concurrent"].append(_rate(by_driver_concurrently, native[:_CONCURRENT_ROWS])[0])
    latencies = []
    for index in range(_SINGLE_WRITES):
        began = time.perf_counter()
        by_writer(rows[index : index + 1])
        latencies.append(time.perf_counter() - began)
    latencies.sort()
    return {
        "driver_rows_per_s": statistics.median(rates["driver"]),
        "driver_concurrent_rows_per_s": statistics.median(rates["concurrent"]),
        "writer_rows_per_s": statistics.median(rates["writer"]),
        "writer_cpu_s_per_100k": statistics.median(cpu),
        "writer_single_row_p50_ms": latencies[len(latencies) // 2] * 1000,
        "writer_single_row_p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


def driver_ways(
    settings: Settings, session: Session, table: CassandraTable
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Two measurements of the plain driver, in rows per second: batches, and `execute_concurrent_with_args`."""
    native = [_driver_row(row, table) for row in _replica_rows(table)]
    statement = session.prepare(table.insert())
    statement.consistency_level = ConsistencyLevel.LOCAL_QUORUM
    bounds = settings.projector

    def batches() -> float:
        return _rate(
            lambda some: _driver_batches(session, statement, some, bounds.rows_per_batch, bounds.batches_in_flight),
            native,
        )[0]

    def concurrently() -> float:
        def write(some: Sequence[tuple[Any, ...]]) -> None:
            execute_concurrent_with_args(session, statement, some, concurrency=bounds.batches_in_flight)

        return _rate(write, native[:_CONCURRENT_ROWS])[0]

    return batches, concurrently


def _rate(write: Callable[[Sequence[tuple[Any, ...]]], None], rows: Sequence[tuple[Any, ...]]) -> tuple[float, float]:
    """Rows per second, and CPU seconds of this process per 100,000 rows."""
    cpu, began = time.process_time(), time.perf_counter()
    for first in range(0, len(rows), _ACKNOWLEDGED_EVERY):
        write(rows[first : first + _ACKNOWLEDGED_EVERY])
    seconds = time.perf_counter() - began
    return len(rows) / seconds, (time.process_time() - cpu) / len(rows) * 100_000


def _driver_batches(
    session: Session, statement: Any, rows: Sequence[tuple[Any, ...]], rows_per_batch: int, in_flight: int
) -> None:
    """What a careful user of the driver writes: unlogged batches, bounded in flight by a semaphore."""
    slots = threading.Semaphore(in_flight)
    errors: list[BaseException] = []

    def written(_: Any) -> None:
        slots.release()

    def failed(error: BaseException) -> None:
        errors.append(error)
        slots.release()

    for first in range(0, len(rows), rows_per_batch):
        batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
        for row in rows[first : first + rows_per_batch]:
            batch.add(statement, row)
        slots.acquire()
        session.execute_async(batch).add_callbacks(written, failed)
    for _ in range(in_flight):
        slots.acquire()
    if errors:
        raise errors[0]


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
