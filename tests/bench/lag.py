"""Commit to readable, at a steady rate: relay and projector in their own processes, a load, and a reader that polls.

One connection commits single orders on a fixed timetable, so a slow commit is not forgiven by a later start; a thread
polls Cassandra for every tenth order until its row is there. A sample is the time from the return of COMMIT to the
return of the read that first saw the row. The relay and the projector are as shipped.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from cassandra.cluster import Session
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from uuid6 import uuid7

from command_api.process.settings import Settings
from projections import READ_MODELS
from projections.cassandra_table import POSITIONS
from projector.cassandra.session import close, connect

_RATE = 200
_SECONDS = 30
_WARM_UP = 400
_COMPILING_S = 120
_SAMPLE_EVERY = 10
_USERS = 1_000
_DEADLINE_S = 60.0
_POLL_S = 0.0005


def measure(settings: Settings) -> dict[str, float]:
    """lag_p50_ms and lag_p99_ms; makes and drops its own database, topic and keyspace."""
    with path(settings) as (conninfo, session, keyspace):
        samples = load(conninfo, session, keyspace)
    return {
        "lag_p50_ms": statistics.median(samples) * 1_000,
        "lag_p99_ms": p99(samples) * 1_000,
        "lag_samples": len(samples),
    }


def warm_up(settings: Settings) -> None:
    """The same load on servers that have just started, until their JVMs have compiled what runs often.

    Measured in rounds of 20 s from the start, on 2 cores: medians of 21, 8.5, 6.1, 5.1, 4.0, 3.8, 3.7 and 4.1 ms. Before, the
    compilers take the second core.
    """
    with path(settings) as (conninfo, session, keyspace):
        load(conninfo, session, keyspace, _COMPILING_S)


def p99(samples: list[float]) -> float:
    """The sample that a hundredth is above."""
    return sorted(samples)[len(samples) * 99 // 100]


def load(conninfo: str, session: Session, keyspace: str, seconds: int = _SECONDS) -> list[float]:
    """Commit single orders at 200 a second; the seconds that every tenth took to be readable."""
    read = session.prepare(f'SELECT order_id FROM "{keyspace}".order_by_id WHERE order_id = ?')
    watched: queue.Queue[tuple[uuid.UUID, float] | None] = queue.Queue()
    samples: list[float] = []

    def watch() -> None:
        while (item := watched.get()) is not None:
            order, committed = item
            while session.execute(read, (order,)).one() is None:
                if time.perf_counter() - committed > _DEADLINE_S:
                    return
                time.sleep(_POLL_S)  # the deadline is above; short, because this is what is measured
            samples.append(time.perf_counter() - committed)

    watcher = threading.Thread(target=watch)
    watcher.start()
    expected = 0
    with psycopg.connect(conninfo, autocommit=True) as connection:
        users = [row[0] for row in connection.execute("select user_id from users")]
        began = time.perf_counter()
        for number in range(_WARM_UP + _RATE * seconds):
            wait = began + number / _RATE - time.perf_counter()
            if wait > 0:
                time.sleep(wait)  # until the next commit of the rate
            order = uuid.UUID(str(uuid7()))
            connection.execute(
                "insert into orders (order_id, user_id, region) values (%s, %s, 'eu')", (order, users[number % _USERS])
            )
            if number >= _WARM_UP and number % _SAMPLE_EVERY == 0:
                expected += 1
                watched.put((order, time.perf_counter()))
    watched.put(None)
    watcher.join()
    if len(samples) != expected:
        raise RuntimeError(f"{expected - len(samples)} orders were not readable within {_DEADLINE_S:g} s")
    return samples


@contextmanager
def path(settings: Settings) -> Iterator[tuple[str, Session, str]]:
    """A database with users, and a relay and a projector over it, caught up."""
    name = f"bench_lag_{secrets.token_hex(4)}"
    admin = settings.postgres.admin.get_secret_value()
    conninfo = psycopg.conninfo.make_conninfo(admin, dbname=name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    session = connect(settings.cassandra)
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = _environment(settings, name, conninfo, Path(folder))
        try:
            _run(environment, "command_api", "migrate")
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute(
                    f"insert into users (user_id, name) select gen_random_uuid(), 'user ' || i from generate_series(1, {_USERS}) i"
                )
            _run(environment, "command_api.relay", "setup")
            _run(environment, "projector", "setup")
            processes += [
                subprocess.Popen([sys.executable, "-m", *command], env=environment, stderr=subprocess.DEVNULL)
                for command in (("command_api.relay", "run"), ("projector", "run"))
            ]
            wait_covered(session, name, conninfo)
            yield conninfo, session, name
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(30)
            session.execute(f'DROP KEYSPACE IF EXISTS "{name}"', timeout=60)
            close(session)
            _drop_topic(settings, name)
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute(
                    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", (name,)
                )
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _drop_topic(settings: Settings, name: str) -> None:
    admin = AdminClient(settings.kafka.client_properties())  # a name of its own: its futures end with it
    with suppress(KafkaException):  # not made when the set-up failed
        admin.delete_topics([name])[name].result(30)


def wait_covered(session: Session, keyspace: str, conninfo: str, seconds: float = _DEADLINE_S) -> None:
    """Wait until every read model covers what has committed; raises RuntimeError after `seconds`."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute("select pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        covered = [r.lsn for r in session.execute(f'SELECT lsn FROM "{keyspace}"."{POSITIONS}"')]
        if len(covered) == len(READ_MODELS) and min(covered) >= int(row[0]):
            return
        time.sleep(0.05)  # the deadline is the loop; Cassandra tells nobody that a row has changed
    raise RuntimeError(f"the read models did not cover the log within {seconds:g} s")


def _run(environment: dict[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], env=environment, check=True, timeout=120, capture_output=True)


def _environment(settings: Settings, name: str, conninfo: str, folder: Path) -> dict[str, str]:
    passed = {
        "LOCKSTEP_POSTGRES__ADMIN": conninfo,
        "LOCKSTEP_POSTGRES__RELAY": conninfo,
        "LOCKSTEP_POSTGRES__READER": conninfo,
        "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LOCKSTEP_KAFKA__TOPIC": name,
        "LOCKSTEP_KAFKA__GROUP_ID": name,
        "LOCKSTEP_RELAY__SLOT": name,
        "LOCKSTEP_RELAY__PUBLICATION": name,
        "LOCKSTEP_RELAY__METRICS_PORT": "0",
        "LOCKSTEP_CASSANDRA__CONTACT_POINTS": json.dumps(settings.cassandra.contact_points),
        "LOCKSTEP_CASSANDRA__PORT": str(settings.cassandra.port),
        "LOCKSTEP_CASSANDRA__KEYSPACE": name,
        "LOCKSTEP_PROJECTOR__REPLICA": str(folder / "replica.sqlite"),
        "LOCKSTEP_PROJECTOR__METRICS_PORT": "0",
    }
    return os.environ | passed
