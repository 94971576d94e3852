"""A region's month of daily sales: what Cassandra holds, beside the same SELECT in Postgres, over a year of fifty regions.

The 18,250 rows are the projector's own work, and hold what the SELECT gives. They are read as the read API does, through
its own store and statement, and once more through its route with the HTTP client in the same process.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import httpx
import psycopg
from cassandra.util import Date

from command_api.process.settings import Settings
from deploy.local.demo_reads import restricted
from projections.read_model import ReadModel
from projections.sales import DAILY_SALES_BY_REGION
from projector.cassandra.session import close, connect
from read_api.app import ReadApi
from read_api.cql import Shape
from tests.bench.path import prepared
from tests.e2e import compare, sales
from tests.e2e.pipeline import Pipeline

READ_MODELS: tuple[ReadModel, ...] = (DAILY_SALES_BY_REGION,)
_READS = 1_000
_SELECTS = 200
_WARM_UP = 200
_CONNECT_S = 20.0
_COVERED_S = 180.0

Key = tuple[str, dt.date]


def measure(settings: Settings) -> dict[str, float]:
    """sales_month_read_p50_ms, through the route sales_month_route_p50_ms, in Postgres sales_month_sql_p50_ms."""
    random = Random(3)
    keys = [(f"region {random.randrange(sales.REGIONS)}", dt.date(2025, random.randint(1, 12), 1)) for _ in range(500)]
    with prepared(settings, "sales", "tests.bench.sales:READ_MODELS") as pipeline:
        admin = pipeline.settings.postgres.admin.get_secret_value()
        with psycopg.connect(admin, autocommit=True) as postgres:
            postgres.execute("set timezone = 'UTC'")
            with pipeline.running("relay", "projector"):
                sales.fill(postgres)
                _settle(pipeline, admin)
            postgres.execute("vacuum (analyze) orders, order_items")
            in_sql = statistics.median(_selects(postgres, keys))
        read, route = asyncio.run(_reads(pipeline.settings, keys))
    return {
        "sales_month_read_p50_ms": read * 1_000,
        "sales_month_route_p50_ms": route * 1_000,
        "sales_month_sql_p50_ms": in_sql * 1_000,
    }


def _settle(pipeline: Pipeline, admin: str) -> None:
    """Wait until everything is covered, and see that it is what the SELECT gives."""
    own = pipeline.settings
    session = connect(own.cassandra)
    keyspace, projection, position = own.cassandra.keyspace, own.projector.projection, compare.flushed(admin)
    try:
        compare.wait_covered(
            session, keyspace, projection, READ_MODELS, position, seconds=_COVERED_S, pipeline=pipeline
        )
        assert compare.assert_equal(session, keyspace, admin, READ_MODELS, "filled") == {
            DAILY_SALES_BY_REGION.name: sales.ROWS
        }
    finally:
        close(session)


def _selects(postgres: psycopg.Connection[Any], keys: Sequence[Key]) -> list[float]:
    text, constants = restricted(DAILY_SALES_BY_REGION)
    samples = []
    for region, month in keys[:_SELECTS]:
        began = time.perf_counter()
        rows = postgres.execute(text.encode(), {**constants, "region": region, "month": month}, prepare=True).fetchall()
        samples.append(time.perf_counter() - began)
        assert 28 <= len(rows) <= 31
    return samples


async def _reads(settings: Settings, keys: Sequence[Key]) -> tuple[float, float]:
    """Seconds of the median read of a month through the store and through the route."""
    application = ReadApi(settings, READ_MODELS)
    service = application.service
    await service.start()
    try:
        await asyncio.wait_for(service.store.connected(), _CONNECT_S)
        statement = service.readers[DAILY_SALES_BY_REGION.name].statement(Shape())
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:

            async def read(key: Key) -> int:
                region, month = key
                return len((await service.store.read(statement, (region, Date(month)), fetch_size=100)).rows)

            async def route(key: Key) -> int:
                region, month = key
                response = await client.get(f"/read/{DAILY_SALES_BY_REGION.name}/{region}/{month.isoformat()}")
                assert response.status_code == 200, response.text
                return len(response.json()["rows"])

            return await _median(read, keys), await _median(route, keys)
    finally:
        await service.stop()


async def _median(read: Callable[[Key], Awaitable[int]], keys: Sequence[Key]) -> float:
    samples = []
    for number in range(_WARM_UP + _READS):
        began = time.perf_counter()
        rows = await read(keys[number % len(keys)])
        samples.append(time.perf_counter() - began)
        assert 28 <= rows <= 31
    return statistics.median(samples[_WARM_UP:])
