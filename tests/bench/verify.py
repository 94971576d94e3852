"""`projector verify` on an equal table: rows compared a second, and the memory that takes as the table grows.

The pipeline runs in processes as it does for users; a million orders would only take longer to place, so two sizes are
compared instead.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from command_api.migrations.apply import migrate
from command_api.process.settings import Postgres, Settings
from projections import ORDERS_BY_USER
from projections.read_model import ReadModel
from projector.cassandra.session import close, connect
from tests.bench.filled_log import drop_topic
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, environment

READ_MODELS: tuple[ReadModel, ...] = (ORDERS_BY_USER,)
_SMALL, _LARGE = 20_000, 200_000
_ROUNDS = 3
# The largest resident set since the program began; getrusage's also counts the parent that it was forked from.
_COMMAND = """
from pathlib import Path
from projector.__main__ import main
try:
    main()
finally:
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
_ORDERS = """
    with u as (insert into users (user_id, name) select gen_random_uuid(), 'user ' || i from generate_series(1, {users}) i
               returning user_id), n as (select user_id, row_number() over () as i from u)
    insert into orders (order_id, user_id, status, region, created_at)
    select gen_random_uuid(), user_id, 'placed', 'eu', timestamptz '2024-03-01' + (i * 50 + j) * interval '1 s'
    from n, generate_series(1, 50) j
"""


def measure(settings: Settings) -> dict[str, float]:
    """verify_rows_per_s, and verify_rss_growth_mb: of a process that verifies ten times the rows, over the smaller one."""
    name = f"bench_verify_{secrets.token_hex(4)}"
    admin = settings.postgres.admin.get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    database = SecretStr(make_conninfo(admin, dbname=name))
    own = settings.model_copy(
        update={
            "postgres": Postgres(**dict.fromkeys(("admin", "relay", "reader", "command_api", "refresher"), database)),
            "kafka": settings.kafka.model_copy(update={"topic": name, "group_id": name}),
            "cassandra": settings.cassandra.model_copy(update={"keyspace": name}),
            "relay": settings.relay.model_copy(update={"slot": name, "publication": name, "metrics_port": 0}),
        }
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(own, Path(folder))
    finally:
        drop_topic(own.kafka)
        session = connect(own.cassandra)
        session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
        close(session)
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", (name,)
            )
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _measure(own: Settings, folder: Path) -> dict[str, float]:
    projector = {
        "projection": "bench",
        "replica": folder / "replica.sqlite",
        "metrics_port": 0,
        "read_models": "tests.bench.verify:READ_MODELS",
    }
    own = own.model_copy(update={"projector": own.projector.model_copy(update=projector)})
    migrate(own.postgres)
    with Pipeline(own, folder, fresh=True) as pipeline:
        pipeline.set_up()
        with pipeline.running("relay", "projector"):
            _grow(pipeline, _SMALL)
            small = _verify(own)
            _grow(pipeline, _LARGE - _SMALL)
            runs = [_verify(own) for _ in range(_ROUNDS)]
    return {
        "verify_rows_per_s": _LARGE / statistics.median(seconds for seconds, _ in runs),
        "verify_rss_growth_mb": statistics.median(rss for _, rss in runs) - small[1],
    }


def _grow(pipeline: Pipeline, rows: int) -> None:
    """Place orders and wait until they are covered."""
    own = pipeline.settings
    admin = own.postgres.admin.get_secret_value()
    with psycopg.connect(admin) as connection:
        connection.execute(_ORDERS.format(users=rows // 50).encode())
    session = connect(own.cassandra)
    try:
        compare.wait_covered(
            session,
            own.cassandra.keyspace,
            own.projector.projection,
            READ_MODELS,
            compare.flushed(admin),
            seconds=120,
            pipeline=pipeline,
        )
    finally:
        close(session)


def _verify(own: Settings) -> tuple[float, float]:
    """Seconds and peak megabytes of one run of the command, its start included."""
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", _COMMAND, "verify", "--all"],
        env=os.environ | environment(own),
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    seconds = time.perf_counter() - began
    *said, peak = process.stdout.decode().splitlines()
    assert "equal" in said[0], said
    return seconds, int(peak) / 1024
