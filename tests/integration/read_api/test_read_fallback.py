"""A read model that is behind is answered from Postgres, with exactly what it shows itself once it has caught up."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from cassandra.cluster import Session
from sqlalchemy.dialects import postgresql

from command_api import months
from command_api.lsn import Lsn
from command_api.process.settings import Settings
from projections import INCREMENTAL, READ_MODELS
from projections.read_model import ReadModel
from projections.refreshed import maintained
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, Process
from tests.e2e.transactions import Source
from tests.integration.read_api.stand import Get, serving
from tests.oracle import schema
from tests.oracle.values import Value

TRANSACTIONS = 400
KEYS = 12  # of each read model
# Rows that the random changes leave alone: partitions of many pages, ties in the first clustering column that are broken
# by uuids of several versions, some of them time-based, and a region that a collation would sort elsewhere.
FILLING = """
    with
        u as (insert into users (user_id, name) values (md5('u')::uuid, 'Ünal') returning user_id),
        f as (insert into users (user_id, name, last_seen_at) values (md5('f')::uuid, 'Finn', now()) returning user_id),
        p as (insert into products (product_id, name, price) values (md5('p')::uuid, 'Lamp', 12.5) returning product_id),
        d as (insert into drivers (driver_id, name) values (md5('d')::uuid, 'Dora') returning driver_id),
        c as (insert into channels (channel_id, name) values (md5('c')::uuid, 'general') returning channel_id),
        g as (select i, case when i % 3 = 0 then overlay(md5('o' || i) placing '1' from 13)::uuid
                        else md5('o' || i)::uuid end as id, timestamptz '2024-03-01 12:00+00' + (i / 20) * interval '1 s' as at
              from generate_series(1, 90) i),
        a as (insert into addresses (address_id, user_id, label, line, city, postcode)
              select id, user_id, 'é%_', 'Way', 'Ely', 'CB7' from g, u where i <= 30),
        r as (insert into reviews (review_id, product_id, user_id, rating, body) select id, product_id, user_id, 4, '"\\'
              from g, p, u where i = 1),
        t as (insert into trips (trip_id, driver_id, rider_id, city, started_at, finished_at, fare)
              select id, driver_id, user_id, 'Ångstad/%', at, at, i from g, d, u),
        m as (insert into messages (message_id, sent_at, channel_id, author_id, body)
              select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7'
                      || overlay(left(md5('m' || i), 19) placing '8' from 4))::uuid, at, channel_id, user_id, 'hello'
              from g, c, u),
        b as (insert into posts (post_id, author_id, body) select id, user_id, 'hello' from g, u where i <= 3),
        w as (insert into follows (follower_id, followee_id) select f.user_id, u.user_id from f, u),
        o as (insert into orders (order_id, user_id, status, region, created_at)
              select id, user_id, 'placed', case i % 2 when 0 then 'Öst' else 'ost' end, at from g, u)
    insert into order_items (order_id, line_no, product_id, quantity, unit_price)
    select id, 1, product_id, 2, 1.5 from g, p where i % 4 <> 0
"""
OF_PAGES = {"orders_by_user", "orders_by_status", "trips_by_driver", "trips_by_city_date", "messages_by_channel"}
"""Read models of which a partition is filled with 90 rows."""
MONTHS = (date(2024, 2, 1), date(2024, 3, 1))
DOMAINS = {**schema.DOMAINS, "users": {**schema.DOMAINS["users"], "last_seen_at": (Value("now", None),)}}
"""Nobody becomes an inactive reader: their feeds would be answered from Postgres until they are written behind it."""
Request = tuple[str, dict[str, Any]]


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    """The path from Postgres to Cassandra; nothing is started yet, all that the test starts is ended."""
    with Pipeline(settings, tmp_path) as made:
        yield made


class Shop:
    """A database that changes at random, and a worker that can be stopped."""

    def __init__(self, pipeline: Pipeline, session: Session, worker: Process, rng: Random) -> None:
        self._pipeline = pipeline
        self._session = session
        self._worker = worker
        self._rng = rng
        self.admin = pipeline.settings.postgres.admin.get_secret_value()

    def change(self, transactions: int, *statements: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute("set timezone = 'UTC'")
            for month in set(MONTHS) - set(months.existing(connection)):
                months.create(connection, month)
            for statement in statements:
                connection.execute(statement.encode())
            source = Source(connection, schema.APPLICATION, DOMAINS, self._rng, {}, alone=False)
            for _ in range(transactions):
                source.transaction()
        self._pipeline.run("projector", "refresh", "category_report")

    @property
    def token(self) -> str:
        return str(Lsn(compare.flushed(self.admin)))

    def pause(self) -> None:
        self._worker.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._worker.send(signal.SIGCONT)
        own = self._pipeline.settings
        compare.wait_covered(
            self._session, own.cassandra.keyspace, own.projector.projection, READ_MODELS, compare.flushed(self.admin),
            seconds=60, pipeline=self._pipeline,
        )  # fmt: skip

    def paths(self) -> list[str]:
        """Paths of all partitions that there are now, the largest one of each read model first."""
        found = []
        with psycopg.connect(self.admin) as connection:
            connection.execute("set timezone = 'UTC'")
            for model in READ_MODELS:
                bucket = model.bucket.column if model.bucket else None
                names = ", ".join(f'v."{name}"::text' for name in model.partition_key if name != bucket)
                text = f"select {names} from ({text_of(model)}) v group by {names} order by count(*) desc, {names}"
                found += [
                    f"/read/{model.name}/" + "/".join(quote(part, safe="") for part in key)
                    for key in connection.execute(text.encode())
                ]
        return found

    def sample(self, earlier: list[str]) -> list[str]:
        """A few paths of each read model: the largest partition, some of those that there are now, and of all that there
        were; fails when a model has none now."""
        chosen: set[str] = set()
        now = self.paths()
        for model in READ_MODELS:
            for among in (now, list(dict.fromkeys(now + earlier))):
                own = [path for path in among if path.startswith(f"/read/{model.name}/")]
                assert own, f"nothing is in {model.name}"
                chosen.update(own[:1], self._rng.sample(own, min(KEYS // 2, len(own))))
        return sorted(chosen)


def text_of(model: ReadModel) -> str:
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(maintained(model).select.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def narrowed(path: str, rows: Sequence[dict[str, Any]], rng: Random) -> Iterator[Request]:
    """Requests for the partition: all of it, pages, both orders, some of the ranges that its rows suggest."""
    for limit in (1, 3, 1000) if len(rows) <= 20 else (7, 30, 1000):
        yield path, {"limit": limit}
    name = path.split("/")[2]
    model = next(model for model in READ_MODELS if model.name == name)
    if not (model.clustering and rows):
        return
    yield path, {"limit": 7, "order": "reversed"}
    for _ in range(4):
        row, other = rng.choice(rows), rng.choice(rows)
        given: dict[str, Any] = {"limit": rng.choice((2, 50)), "order": rng.choice(("forward", "reversed"))}
        for clustering in model.clustering:
            column = clustering.column
            if rng.random() < 0.5:
                given |= {f"{column}.{rng.choice(('gt', 'gte'))}": row[column]}
                given |= {f"{column}.{rng.choice(('lt', 'lte'))}": other[column]} if rng.random() < 0.5 else {}
                break
            given[column] = row[column]
        yield path, given


async def page(get: Get, request: Request, token: str, source: str, **more: str) -> dict[str, Any]:
    """One page, from the source that is expected."""
    path, parameters = request
    # What is covered is covered by then: who waits at all waits for a machine that is busy.
    wait = "wait=0" if source == "postgres" else "wait=30"
    response = await get(path, params=parameters | more, headers={"Consistency-Token": token, "Prefer": wait})
    assert response.status_code == 200, f"{request}: {response.text}"
    body: dict[str, Any] = response.json()
    assert body["source"] == response.headers["source"] == source, (request, body["covered_lsn"], token)
    assert Lsn.parse(body["covered_lsn"]) >= Lsn.parse(token)
    return body


async def walk(get: Get, request: Request, token: str, source: str, body: dict[str, Any] | None = None) -> list[Any]:
    """The rows of all pages; `body` is the first one if it was read already."""
    body = body or await page(get, request, token, source)
    rows: list[Any] = body["rows"]
    while body["next_page"]:
        body = await page(get, request, token, source, page=body["next_page"])
        rows = rows + body["rows"]
    return rows


@pytest.mark.timeout(300)
def test_postgres_answers_as_the_read_model_will(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    pipeline.set_up()

    async def ask(what: Callable[[Get], Any]) -> Any:
        async with serving(pipeline.settings, READ_MODELS) as get:
            return await what(get)

    with pipeline.running("relay", "projector") as (_, worker):
        shop = Shop(pipeline, cassandra_session, worker, rng)
        shop.change(TRANSACTIONS, FILLING)
        shop.resume()
        paths = shop.paths()
        shop.pause()
        shop.change(TRANSACTIONS)
        token = shop.token

        async def from_postgres(get: Get) -> list[tuple[Request, list[Any], dict[str, Any]]]:
            found = []
            for path in shop.sample(paths):
                everything = await walk(get, (path, {"limit": 1000}), token, "postgres")
                for request in narrowed(path, everything, rng):
                    first = await page(get, request, token, "postgres")
                    found.append((request, await walk(get, request, token, "postgres", first), first))
            return found

        answers = asyncio.run(ask(from_postgres))
        shop.resume()

        async def from_read_model(get: Get) -> list[tuple[Request, list[Any], dict[str, Any]]]:
            begun = []
            for request, rows, first in answers:
                assert await walk(get, request, token, "read-model") == rows, (seed, request)
                # Begun in Postgres, continued in Cassandra.
                assert await walk(get, request, token, "read-model", first) == rows, (seed, request)
                begun.append((request, rows, await page(get, request, token, "read-model")))
            return begun

        begun = asyncio.run(ask(from_read_model))
        shop.pause()
        with psycopg.connect(shop.admin) as connection:
            connection.execute("insert into users (user_id, name) values (md5('other')::uuid, 'Other')")
        later = shop.token

        async def continued(get: Get) -> None:
            for request, rows, first in begun:
                # Begun in Cassandra, continued in Postgres.
                assert await walk(get, request, later, "postgres", first) == rows, (seed, request)

        asyncio.run(ask(continued))
        shop.resume()
    counted = {model.name: 0 for model in READ_MODELS}
    for (path, _), rows, _ in answers:
        counted[path.split("/")[2]] += len(rows)
    assert all(counted.values()), f"seed {seed}: nothing was read of some: {counted}"
    paged = Counter(path.split("/")[2] for (path, _), _, first in answers if first["next_page"])
    # 90 rows at limits of 7 and 30, and reversed.
    assert all(paged[name] >= 3 for name in OF_PAGES), f"seed {seed}: mostly one page was all there is: {paged}"
    assert len(INCREMENTAL) < len(READ_MODELS), "a scheduled one is among them"
