"""How fast the relay drains changes that wait in the slot, and what it costs.

`measure` makes its own table, publication, slot and topic beside those of the settings it is given and drops them again.
Rows are like orders: six columns (bigint, uuid, two texts, timestamptz, integer). Rates are from
the opened stream to the last acknowledgement; CPU is all of this process, the reading of the log's end included.
"""

from __future__ import annotations

import resource
import secrets
import threading
import time

import psycopg
from confluent_kafka.admin import AdminClient
from psycopg import sql

from command_api.process.settings import Settings
from command_api.relay.catalog import Catalog
from command_api.relay.loop import run
from command_api.relay.metrics import RelayState
from command_api.relay.setup import drop_slot, setup

CHANGES = 200_000
DEADLINE_S = 120.0


def measure(settings: Settings, *, changes: int = CHANGES) -> dict[str, float]:
    """relay_changes_per_s (transactions of 10), relay_single_changes_per_s, relay_cpu_s_per_100k (both together)."""
    tens, tens_cpu = _drain(settings, changes, per_transaction=10)
    single, single_cpu = _drain(settings, changes, per_transaction=1)
    return {
        "relay_changes_per_s": round(changes / tens),
        "relay_single_changes_per_s": round(changes / single),
        "relay_cpu_s_per_100k": round(tens_cpu / changes * 100_000, 3),
        "relay_single_cpu_s_per_100k": round(single_cpu / changes * 100_000, 3),
    }


def _drain(settings: Settings, changes: int, *, per_transaction: int) -> tuple[float, float]:
    """Seconds and CPU seconds to drain `changes`."""
    name = f"bench_relay_{secrets.token_hex(4)}"
    admin = settings.postgres.admin.get_secret_value()
    own = settings.model_copy(
        update={
            "relay": settings.relay.model_copy(
                update={"slot": name, "publication": name, "tables": (f"public.{name}",)}
            ),
            "kafka": settings.kafka.model_copy(update={"topic": name.replace("_", "-")}),
        }
    )
    with psycopg.connect(admin, autocommit=True) as connection:
        table = sql.Identifier(name)
        connection.execute(
            sql.SQL(
                "create table {} (order_id bigint primary key, user_id uuid not null, status text not null,"
                " region text, created_at timestamptz not null default clock_timestamp(), version int not null)"
            ).format(table)
        )
        try:
            setup(own)
            connection.execute("set synchronous_commit = off")
            connection.execute(
                sql.SQL(
                    "do $$ begin for i in 0..{last} loop insert into {table} select i * {n} + j, gen_random_uuid(),"
                    " 'placed', 'region ' || (i % 50), clock_timestamp(), 1 from generate_series(1, {n}) j; commit;"
                    " end loop; end $$"
                ).format(table=table, n=sql.Literal(per_transaction), last=sql.Literal(changes // per_transaction - 1))
            )
            return _run(own, changes)
        finally:
            with Catalog(admin) as catalog:
                drop_slot(catalog, name)
            connection.execute(sql.SQL("drop publication if exists {}").format(table))
            connection.execute(sql.SQL("drop table {}").format(table))
            kafka = AdminClient({**own.kafka.client_properties(), "log_level": 3})
            for future in kafka.delete_topics([own.kafka.topic]).values():
                future.exception(20)


def _run(settings: Settings, changes: int) -> tuple[float, float]:
    state, stop, done = RelayState(), threading.Event(), []

    def watch() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not state.streaming and time.monotonic() < deadline:
            time.sleep(0.002)  # the deadline is the loop
        began = time.monotonic()
        while time.monotonic() < deadline:
            if state.changes >= changes and not state.outstanding:
                done.append(time.monotonic() - began)
                break
            time.sleep(0.005)  # the deadline is the loop
        stop.set()

    watcher = threading.Thread(target=watch)
    before = resource.getrusage(resource.RUSAGE_SELF)
    watcher.start()
    run(settings, state, stop)
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert done, f"{state.changes} of {changes} changes within {DEADLINE_S} s"
    return done[0], after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
