"""A generation built from a filled log by the command itself, beside the plain driver writing as many rows in the same run.

rebuild_rows_per_s: rows over the seconds from the log's first read to the published position that covers all of it.
rebuild_vs_driver: that over the driver's best batching of the same rows; rounds alternate, medians of each one's own ratio.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.cassandra_table import cassandra_table
from projections.generations import OPEN, State
from projector.cassandra.progress import read_positions
from projector.cassandra.session import close, connect
from projector.generations.registry import Registry
from projector.setup import set_up
from tests.bench.filled_log import OrderLog, drop_topic, fill, make_topic
from tests.bench.orders import ORDERS_WITH_NAME
from tests.bench.writer import PlainDriver

_ROUNDS = 3
_ORDERS = 240_000
_LIMIT_S = 300.0
_POLL_S = 0.005
_BEGINS = "reading the log"
_NAME = ORDERS_WITH_NAME.name


def measure(settings: Settings) -> dict[str, float]:
    """rebuild_rows_per_s and rebuild_vs_driver; makes and drops its own keyspace, topic and files."""
    name = f"bench_rebuild_{secrets.token_hex(4)}"
    own = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"topic": name, "group_id": name}),
            "cassandra": settings.cassandra.model_copy(update={"keyspace": name}),
        }
    )
    session = connect(own.cassandra)
    table = cassandra_table(ORDERS_WITH_NAME, name)
    set_up(session, own, (ORDERS_WITH_NAME,))
    registry = Registry(session, keyspace=name, projection=own.projector.projection)
    make_topic(own.kafka)
    try:
        log = OrderLog()
        fill(own.kafka, log.snapshot())
        fill(own.kafka, log.take(_ORDERS))
        plain = PlainDriver(own, session, table)
        rows = log.last_rows()
        rounds = []
        for _ in range(_ROUNDS):
            driver = plain.batches_per_s(rows)
            rate = _ORDERS / _build(own, session, registry, log.lsn)
            rounds.append({"rebuild_rows_per_s": rate, "rebuild_vs_driver": rate / driver})
        return {figure: statistics.median(each[figure] for each in rounds) for figure in rounds[0]}
    finally:
        drop_topic(own.kafka)
        session.execute(f"DROP KEYSPACE {name}", timeout=60)
        close(session)


def _build(own: Settings, session: Session, registry: Registry, end: int) -> float:
    """Build one more generation; seconds from the first read on. It is marked as failed, so that the next one is another."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "projector", "generations", "build", _NAME],
            env=_environment(own, Path(folder) / "replica.sqlite"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if _BEGINS in line:
                    break
            else:
                raise AssertionError(f"the build ended with {process.wait(10)}: {''.join(said[-3:])}")
            began = time.perf_counter()
            generation = max(registry.read()[_NAME].generations.values(), key=lambda each: each.number)
            while (position := _position(own, session, generation.table)) is None or position < end:
                if time.perf_counter() - began > _LIMIT_S:
                    raise AssertionError(f"{generation.table} covers {position}, not {end}")
                time.sleep(_POLL_S)  # a poll inside the deadline
            seconds = time.perf_counter() - began
        finally:
            process.kill()
            process.wait(10)
            process.stderr.close()
    count = session.execute(f'SELECT count(*) AS n FROM "{own.cassandra.keyspace}"."{generation.table}"', timeout=60)
    assert count.one().n == _ORDERS
    registry.move(generation, State.FAILED, of=OPEN, reason="of a measurement")
    return seconds


def _position(own: Settings, session: Session, table: str) -> int | None:
    found = read_positions(session, own.cassandra.keyspace, own.projector.projection, 0).get(table)
    return found.lsn if found is not None else None


def _environment(own: Settings, replica: Path) -> dict[str, str]:
    return os.environ | {
        "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS": own.kafka.bootstrap_servers,
        "LOCKSTEP_KAFKA__TOPIC": own.kafka.topic,
        "LOCKSTEP_KAFKA__GROUP_ID": own.kafka.group_id,
        "LOCKSTEP_CASSANDRA__CONTACT_POINTS": json.dumps(own.cassandra.contact_points),
        "LOCKSTEP_CASSANDRA__PORT": str(own.cassandra.port),
        "LOCKSTEP_CASSANDRA__KEYSPACE": own.cassandra.keyspace,
        "LOCKSTEP_PROJECTOR__REPLICA": str(replica),
        "LOCKSTEP_PROJECTOR__READ_MODELS": "tests.bench.projector:READ_MODELS",
    }
