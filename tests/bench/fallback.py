"""What a read costs that Postgres has to answer: fifty rows of a driver's trips, through the route, beside 100,000 others.

Nothing covers the token, so every read falls back at once. Client and server share a process, as in the other figures
of routes; nothing else runs.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from random import Random
from uuid import UUID

import httpx
import psycopg

from command_api.process.settings import Settings
from projections.trips import TRIPS_BY_DRIVER
from read_api.app import ReadApi
from tests.bench.path import prepared

_DRIVERS = 2_000
_ROWS = 50
_READS = 1_000
_WARM_UP = 100
_CONNECT_S = 20.0
_FILLING = f"""
    with
        u as (insert into users (user_id, name) values (md5('u')::uuid, 'Ada') returning user_id),
        d as (insert into drivers (driver_id, name) select lpad(to_hex(i), 32, '0')::uuid, 'Driver ' || i
              from generate_series(1, {_DRIVERS}) i returning driver_id)
    insert into trips (trip_id, driver_id, rider_id, city, started_at)
    select gen_random_uuid(), driver_id, user_id, 'Ely', timestamptz '2025-01-01' + i * interval '1 hour'
    from d, u, generate_series(1, {_ROWS}) i
"""


def measure(settings: Settings) -> dict[str, float]:
    """fallback_p50_ms; makes and drops its own database and keyspace."""
    with prepared(settings, "fallback", "projections:READ_MODELS") as pipeline:
        with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            connection.execute(_FILLING.encode())
            connection.execute("vacuum (analyze) trips, drivers")
            row = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        return {"fallback_p50_ms": asyncio.run(_median(pipeline.settings, row[0])) * 1_000}


async def _median(settings: Settings, token: str) -> float:
    random = Random(5)
    application = ReadApi(settings, (TRIPS_BY_DRIVER,))
    headers = {"Consistency-Token": token, "Prefer": "wait=0"}
    samples = []
    await application.service.start()
    try:
        await asyncio.wait_for(application.service.store.connected(), _CONNECT_S)
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:
            for _ in range(_WARM_UP + _READS):
                path = f"/read/{TRIPS_BY_DRIVER.name}/{UUID(int=random.randint(1, _DRIVERS))}"
                began = time.perf_counter()
                response = await client.get(path, headers=headers)
                samples.append(time.perf_counter() - began)
                body = response.json()
                assert (body["source"], len(body["rows"])) == ("postgres", _ROWS)
    finally:
        await application.service.stop()
    return statistics.median(samples[_WARM_UP:])
