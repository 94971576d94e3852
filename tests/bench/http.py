"""Reads over HTTP: a partition of 50 orders, from a read API as shipped, beside the same rows by the raw driver.

Latency is of one client that reads one after the other, in rounds that alternate with the driver's, so that both meet the
same machine. Throughput is of 50 connections to one process, what oha and hey open unless told (of 16 both cores of two are
idle a quarter of the time, each waiting for the other), by wrk where it is there and by a load of our own where not; beside
it stands the CPU time that a request then takes of that process and of Cassandra, which says more than a rate on a machine
that others use. Reads of one partition at once share requests to Cassandra (`read_api.execution`), so a second throughput is of
many partitions in turn, none of which meet. The wait of a token is from the moment when the position that it waits for is acknowledged in Cassandra to
the whole reply: poll, read and HTTP together.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psutil
from cassandra.cluster import Session

from command_api.lsn import Lsn
from command_api.process.settings import Settings
from projections.cassandra_table import POSITIONS, cassandra_table, create_positions, write_timestamp
from projections.generations import create_registry
from projections.orders import ORDERS_BY_USER
from projector.cassandra.session import close, connect
from tests.bench.lag import p99
from tests.bench.load import WRK, loaded, pressed
from tests.bench.server_cpu import ServerCpu, of
from tests.e2e.pipeline import Pipeline, listening, wait_for

SERVED = (ORDERS_BY_USER,)
_ROWS = 50
_ROUNDS = 8
_READS = 300  # of a round
_LOAD_S = 8
_LOADS = 9  # the first of them also warm Cassandra up: its compiler takes CPU beside them
_CONNECTIONS = 50
_USERS = 1_000
_WAITS = 150
_LAG_S = 0.010  # about what a commit takes to be covered


def measure(settings: Settings) -> dict[str, float]:
    """The figures of `make bench`; makes and drops a keyspace of its own."""
    with _served(settings) as (session, keyspace, url, projection, process):
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        path = _path(1)
        table = cassandra_table(ORDERS_BY_USER, keyspace)
        names = ", ".join(f'"{name}"' for name in table.columns)
        statement = session.prepare(f'SELECT {names} FROM {table.qualified} WHERE "user_id" = ?')
        loaded(host, port, path, connections=4, requests=1_000)
        http, store = list[float](), list[float]()
        for _ in range(_ROUNDS):
            http += loaded(host, port, path, connections=1, requests=_READS).times
            for _ in range(_READS):
                began = time.perf_counter()
                rows = session.execute(statement, (UUID(int=1),)).all()
                store.append(time.perf_counter() - began)
                assert len(rows) == _ROWS
        clocks = {"cpu": process, "cassandra_cpu": of(settings.cassandra)}
        seen = {name: clock for name, clock in clocks.items() if clock is not None}
        paths = {"": (path,), "_spread": tuple(_path(number) for number in range(1, _USERS + 1))}
        figures = defaultdict[str, list[float]](list)
        for _ in range(_LOADS):
            for spread, asked in paths.items():
                before = {name: clock.seconds() for name, clock in seen.items()}
                load = pressed(host, port, *asked, connections=_CONNECTIONS, seconds=_LOAD_S)
                figures[f"read_http{spread}_rps"].append(load.requests / load.seconds)
                for name, clock in seen.items():
                    spent = (clock.seconds() - before[name]) / load.requests
                    figures[f"read_http{spread}_{name}_us"].append(spent * 1e6)
        waits = list(_waits(session, keyspace, projection, f"{url}{path}"))
    return {name: statistics.median(values) for name, values in figures.items()} | {
        "read_http_p50_ms": statistics.median(http) * 1_000,
        "read_http_p99_ms": p99(http) * 1_000,
        "read_store_p50_ms": statistics.median(store) * 1_000,
        "read_http_by_wrk": float(WRK is not None),
        "read_overhead_ms": (statistics.median(http) - statistics.median(store)) * 1_000,
        "token_wait_over_lag_p50_ms": statistics.median(waits) * 1_000,
    }


def _waits(session: Session, keyspace: str, projection: str, url: str) -> Iterator[float]:
    """Seconds from a position's acknowledgement to the reply that waited for it."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        for lsn in range(1_000, 1_000 + _WAITS):
            replied = list[float]()

            def read(token: str = str(Lsn(lsn)), replied: list[float] = replied) -> None:
                client.get(url, headers={"Consistency-Token": token}).raise_for_status()
                replied.append(time.perf_counter())

            reader = threading.Thread(target=read)
            reader.start()
            time.sleep(_LAG_S)  # the lag: the request waits meanwhile
            _cover(session, keyspace, projection, lsn)
            covered = time.perf_counter()
            reader.join()
            yield replied[0] - covered


def _path(user: int) -> str:
    return f"/read/{ORDERS_BY_USER.name}/{UUID(int=user)}?limit={_ROWS}"


def _cover(session: Session, keyspace: str, projection: str, lsn: int) -> None:
    session.execute(
        f'INSERT INTO "{keyspace}"."{POSITIONS}" (projection, read_model, shard, lsn, epoch, committed_at)'
        f" VALUES (%s, %s, 0, %s, 1, %s) USING TIMESTAMP {write_timestamp(1, lsn)}",
        (projection, ORDERS_BY_USER.name, lsn, int(time.time() * 1e6)),
    )


@contextmanager
def _served(settings: Settings) -> Iterator[tuple[Session, str, str, str, ServerCpu]]:
    """A keyspace with the partition and a position, and a read API on it: session, keyspace, URL, projection, its CPU."""
    name = f"bench_http_{secrets.token_hex(4)}"
    own = settings.model_copy(
        update={
            "cassandra": settings.cassandra.model_copy(update={"keyspace": name}),
            "read_api": settings.read_api.model_copy(
                update={"port": 0, "fallback_connections": 0, "read_models": f"{__name__}:SERVED"}
            ),
        }
    )
    session = connect(own.cassandra)
    try:
        session.execute(
            f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        )
        session.execute(create_positions(name))
        session.execute(create_registry(name))
        table = cassandra_table(ORDERS_BY_USER, name)
        for creation in table.creation():
            session.execute(creation)
        statement = session.prepare(f"{table.insert()} USING TIMESTAMP {write_timestamp(1, 1)}")
        for user in range(1, _USERS + 1):
            futures = []
            for number in range(_ROWS):
                values = {
                    "user_id": UUID(int=user), "created_at": 1_700_000_000_000_000 + number * 1_234_567,
                    "order_id": UUID(int=user * _ROWS + number), "status": "paid", "region": "eu-central",
                    "user_name": "Ada Lovelace", "item_count": 3, "total": 37,
                }  # fmt: skip
                futures.append(session.execute_async(statement, [values[column] for column in table.columns]))
            for future in futures:
                future.result()
        _cover(session, name, own.projector.projection, 1)
        with (
            tempfile.TemporaryDirectory() as folder,
            Pipeline(own, Path(folder), fresh=True) as pipeline,
            pipeline.running("read-api") as (process,),
        ):
            url = listening(process)
            wait_for("ready", lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200, 30)
            yield session, name, url, own.projector.projection, ServerCpu(psutil.Process(process.pid))
    finally:
        session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
        close(session)
