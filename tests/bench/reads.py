"""One hot product's page: the row that Cassandra holds, beside the same SELECT in Postgres over 1,000,000 reviews.

Postgres is as the migrations make it, with its statistics and visibility map fresh, and the SELECT's pages are in its
cache. The row is read as the read API does, through its own store and statement, and once more through its route with
the HTTP client in the same process. What is read is compared before anything is timed.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from sqlalchemy.dialects import postgresql

from command_api.process.settings import Settings
from projections.cassandra_table import POSITIONS, cassandra_table, create_positions, write_timestamp
from projections.generations import create_registry
from projections.products import PRODUCT_PAGE
from projector.cassandra.session import close, connect
from read_api.app import ReadApi
from read_api.cql import Shape

HOT = uuid.UUID(int=1)
_HOT_REVIEWS = 1_000_000
_PRODUCTS = 5_000  # others, of ten reviews each
_SELECTS = 9
_READS = 2_000
_WARM_UP = 300
_CONNECT_S = 20.0

_FILL = """
SET session_replication_role = replica; -- a review's user is not looked up: there are none
INSERT INTO categories (category_id, name) VALUES ('00000000-0000-0000-0000-00000000000c', 'books');
INSERT INTO products (product_id, name, description, price, category_id)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'product ' || n, 'as good as number ' || n, n + 0.50,
       '00000000-0000-0000-0000-00000000000c'
FROM generate_series(1, {products} + 1) AS n;
INSERT INTO reviews (review_id, product_id, user_id, rating, body)
SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(CASE WHEN n <= {hot} THEN 1 ELSE 2 + n % {products} END), 32, '0')::uuid,
       lpad(to_hex(n), 32, '0')::uuid, 1 + n / 7 % 5, 'does what it says, and came in one piece'
FROM generate_series(1, {hot} + 10 * {products}) AS n
"""


def measure(settings: Settings, hot_reviews: int = _HOT_REVIEWS, reads: int = _READS) -> dict[str, float]:
    """The product page's figures of `make bench`; makes and drops a database and a keyspace of its own."""
    with _database(settings) as postgres:
        postgres.execute(_FILL.format(hot=hot_reviews, products=_PRODUCTS))
        postgres.execute("VACUUM (ANALYZE) products, categories, reviews")
        rows = postgres.execute(_sql("")).fetchall()
        hot = f" WHERE products.product_id = '{HOT}'"
        expected = postgres.execute(_sql(hot)).fetchall()
        sql = statistics.median(_selects(postgres, _sql(hot)))
    with _keyspace(settings, rows) as own:
        read, route = asyncio.run(_reads(own, expected, reads))
    return {
        "product_page_read_p50_ms": read * 1_000,
        "product_page_route_p50_ms": route * 1_000,
        "product_page_sql_p50_ms": sql * 1_000,
        "product_page_speedup": sql / read,
    }


def _sql(where: str) -> str:
    """The read model's own select(), its columns in the order of its table in Cassandra."""
    columns = cassandra_table(PRODUCT_PAGE, "bench").columns
    select = PRODUCT_PAGE.select.with_only_columns(
        *(PRODUCT_PAGE.select.selected_columns[name] for name in columns), maintain_column_froms=True
    )
    return str(select.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})) + where  # type: ignore[no-untyped-call]


def _selects(postgres: psycopg.Connection[Any], sql: str) -> Iterator[float]:
    for _ in range(_SELECTS):
        began = time.perf_counter()
        postgres.execute(sql).fetchall()
        yield time.perf_counter() - began


async def _reads(settings: Settings, expected: Sequence[tuple[Any, ...]], count: int) -> tuple[float, float]:
    """Seconds of the median read through the store and through the route."""
    application = ReadApi(settings, (PRODUCT_PAGE,))
    service = application.service
    await service.start()
    try:
        await asyncio.wait_for(service.store.connected(), _CONNECT_S)
        statement = service.readers[PRODUCT_PAGE.name].statement(Shape())
        found = [tuple(row) for row in (await service.store.read(statement, (HOT,), fetch_size=1)).rows]
        assert [row[1:] for row in found] == [row[1:] for row in expected]  # the store gives uuids as bytes
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:

            async def route() -> None:
                response = await client.get(f"/read/{PRODUCT_PAGE.name}/{HOT}")
                assert response.status_code == 200, response.text

            read = await _median(lambda: service.store.read(statement, (HOT,), fetch_size=1), count)
            return read, await _median(route, count)
    finally:
        await service.stop()


async def _median(read: Callable[[], Awaitable[object]], count: int) -> float:
    samples = []
    for _ in range(_WARM_UP + count):
        began = time.perf_counter()
        await read()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples[_WARM_UP:])


@contextmanager
def _database(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A database with the application's tables, all empty."""
    name = f"bench_reads_{secrets.token_hex(4)}"
    admin = settings.postgres.admin.get_secret_value()
    conninfo = psycopg.conninfo.make_conninfo(admin, dbname=name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        environment = os.environ | {"LOCKSTEP_POSTGRES__ADMIN": conninfo}
        subprocess.run([sys.executable, "-m", "command_api", "migrate"], env=environment, check=True, timeout=60)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def _keyspace(settings: Settings, rows: Sequence[tuple[Any, ...]]) -> Iterator[Settings]:
    """Settings with a keyspace that holds these product pages and a position."""
    name = f"bench_reads_{secrets.token_hex(4)}"
    own = settings.model_copy(update={"cassandra": settings.cassandra.model_copy(update={"keyspace": name})})
    session = connect(own.cassandra)
    try:
        replication = json.dumps(own.cassandra.replication).replace('"', "'")
        session.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
        session.execute(create_positions(name))
        session.execute(create_registry(name))
        table = cassandra_table(PRODUCT_PAGE, name)
        session.execute(table.create())
        statement = session.prepare(f"{table.insert()} USING TIMESTAMP {write_timestamp(1, 1)}")
        execute_concurrent_with_args(session, statement, rows)
        _publish(session, own)
        yield own
    finally:
        session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
        close(session)


def _publish(session: Session, settings: Settings) -> None:
    session.execute(
        f"INSERT INTO {settings.cassandra.keyspace}.{POSITIONS}"
        " (projection, read_model, shard, lsn, epoch, committed_at) VALUES (%s, %s, 0, 1, 1, %s)",
        (settings.projector.projection, PRODUCT_PAGE.name, int(time.time() * 1e6)),
    )
