"""One rename with 100,000 orders in three read models: how fast its copies are written, and what others notice of it.

The load of `lag` runs before and while the copies are written; the ratio is that of the two p99 of one run.
"""

from __future__ import annotations

import statistics
import time

import psycopg

from command_api.process.settings import Settings
from tests.bench import lag

_ORDERS = 100_000
_MODELS = 3  # with a row an order and its user's name
_QUIET_SECONDS = 12
_BUSY_SECONDS = 12
_DEADLINE_S = 240.0


def measure(settings: Settings) -> dict[str, float]:
    """rename_rows_per_s (under load), lag_p99_during_rename_ms, lag_p99_during_rename_over_quiet."""
    with lag.path(settings) as (conninfo, session, keyspace):
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
            connection.execute(
                "insert into orders (order_id, user_id, region, created_at) select gen_random_uuid(), user_id, 'eu',"
                f" timestamptz '2026-01-01' + n * interval '1 minute' from users, generate_series(1, {_ORDERS}) n where name = 'Ada'"
            )
        lag.wait_covered(session, keyspace, conninfo, _DEADLINE_S)
        quiet = lag.load(conninfo, session, keyspace, _QUIET_SECONDS)
        lag.wait_covered(session, keyspace, conninfo)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            began = time.perf_counter()
            connection.execute("update users set name = 'Countess' where name = 'Ada'")
        busy = lag.load(conninfo, session, keyspace, _BUSY_SECONDS)
        lag.wait_covered(session, keyspace, conninfo, _DEADLINE_S)
        seconds = time.perf_counter() - began
    return {
        "rename_rows_per_s": _ORDERS * _MODELS / seconds,
        "lag_p50_during_rename_ms": statistics.median(busy) * 1_000,
        "lag_p99_during_rename_ms": lag.p99(busy) * 1_000,
        "lag_p99_during_rename_over_quiet": lag.p99(busy) / lag.p99(quiet),
    }
