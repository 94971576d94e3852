"""A page of a home timeline from the store: without hot authors among whom the reader follows, and merged with twenty.

Pages are read as the read API reads them (flags, mark, copies, entries of hot authors, flags again), of random readers,
and once more through the route with the HTTP client in the same process, on the event loop that serves. Tables are filled by hand as workers leave them.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvloop
from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.cassandra_table import POSITIONS, CassandraTable, cassandra_table, create_positions, write_timestamp
from projections.feed_tables import SHARD, feed_tables
from projections.feeds import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.generations import create_registry
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from read_api.app import ReadApi
from read_api.cql import Shape
from read_api.request import Query
from tests.bench.lag import p99

HOT = 20
_READERS = 50  # each of both kinds
_COPIES = 800
_ENTRIES = 200  # of each hot author
_FOLLOWED = 100  # beside the hot authors
_PAGE = 50
_READS = 1_000
_WARM_UP = 100
_CONNECT_S = 20.0
_MODELS = (HOME_TIMELINE, POSTS_BY_AUTHOR, FOLLOWEES_BY_USER)
_TEXT = "a post of some hundred and forty characters, which is what people have come to write when they are given no more room to say it in"


def measure(settings: Settings) -> dict[str, float]:
    """timeline_read_p50_ms, timeline_read_p99_ms, timeline_merge_p50_ms of a page of 50 rows, and the same by the route.

    timeline_copies_p50_ms: one read of as many copies alone, through the same store.
    """
    with _filled(settings) as own:
        return {name: seconds * 1_000 for name, seconds in uvloop.run(_pages(own)).items()}


def _reader(number: int, *, merged: bool) -> uuid.UUID:
    return uuid.UUID(int=(2 if merged else 1) << 64 | number)


def _author(number: int) -> uuid.UUID:
    return uuid.UUID(int=3 << 64 | number)


async def _pages(settings: Settings) -> dict[str, float]:
    application = ReadApi(settings, _MODELS)
    service = application.service
    await service.start()
    try:
        await asyncio.wait_for(service.store.connected(), _CONNECT_S)
        await service.live.known()
        feed = service.readers[HOME_TIMELINE.name].stored.feed
        assert feed is not None
        statement = service.readers[HOME_TIMELINE.name].statement(Shape())
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:

            def page(*, merged: bool) -> Callable[[], Awaitable[int]]:
                async def read() -> int:
                    reader = _reader(random.randrange(_READERS), merged=merged)
                    query = Query(model=HOME_TIMELINE.name, partition=(reader,))
                    return len((await feed.read(query, _PAGE, None, 0)).rows)

                return read

            def route(*, merged: bool) -> Callable[[], Awaitable[int]]:
                async def read() -> int:
                    reader = _reader(random.randrange(_READERS), merged=merged)
                    reply = await client.get(f"/read/{HOME_TIMELINE.name}/{reader}", params={"limit": _PAGE})
                    assert reply.json()["source"] == "read-model", reply.text
                    return len(reply.json()["rows"])

                return read

            async def raw() -> int:
                reader = _reader(random.randrange(_READERS), merged=False)
                return len((await service.store.read(statement, (reader,), fetch_size=_PAGE)).rows)

            found = await _samples(
                {
                    "copies": raw,
                    "read": page(merged=False),
                    "merge": page(merged=True),
                    "route": route(merged=False),
                    "merge_route": route(merged=True),
                }
            )
            figures = {f"timeline_{name}_p50_ms": statistics.median(samples) for name, samples in found.items()}
            return figures | {"timeline_read_p99_ms": p99(found["read"])}
    finally:
        await service.stop()


async def _samples(ways: dict[str, Callable[[], Awaitable[int]]]) -> dict[str, list[float]]:
    """They take turns, so that what else the machine does is in all of them."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_WARM_UP + _READS):
        for name, read in ways.items():
            began = time.perf_counter()
            rows = await read()
            if number >= _WARM_UP:
                samples[name].append(time.perf_counter() - began)
            assert rows == _PAGE
    return samples


@contextmanager
def _filled(settings: Settings) -> Iterator[Settings]:
    """Settings with a keyspace of timelines, their tables flushed."""
    name = f"bench_timeline_{secrets.token_hex(4)}"
    own = settings.model_copy(update={"cassandra": settings.cassandra.model_copy(update={"keyspace": name})})
    session = connect(own.cassandra)
    try:
        replication = json.dumps(own.cassandra.replication).replace('"', "'")
        session.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
        session.execute(create_positions(name))
        session.execute(create_registry(name))
        for model in _MODELS:
            for table in (cassandra_table(model, name), *feed_tables(model, name)):
                session.execute(table.create(), timeout=60)
        _fill(session, own)
        yield own
    finally:
        session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
        close(session)


def _fill(session: Session, settings: Settings) -> None:
    keyspace, bounds = settings.cassandra.keyspace, settings.projector
    writer = Writer(
        session,
        rows_per_batch=bounds.rows_per_batch,
        batch_bytes=bounds.batch_bytes,
        partitions_per_batch=bounds.partitions_per_batch,
        in_flight=bounds.batches_in_flight,
    )

    def insert(table: CassandraTable, rows: list[tuple[Any, ...]]) -> None:
        in_replica_form = [tuple(str(v) if isinstance(v, uuid.UUID) else v for v in row) for row in rows]
        writer.upsert(table.name, in_replica_form, write_timestamp(1, 1))
        writer.drain()

    posts = (uuid.UUID(int=5 << 64 | number) for number in range(10_000_000))
    rest = ("Ada Lovelace", "https://pictures.example/ada.png", _TEXT, 3)
    timelines, entries, following = (cassandra_table(model, keyspace) for model in _MODELS)
    hot, _ = feed_tables(HOME_TIMELINE, keyspace)
    for table in (timelines, entries, following, hot):
        writer.prepare(table)
    insert(hot, [(SHARD, _author(number)) for number in range(HOT)])
    for author in range(HOT):
        times = (10_000_000 + (number * HOT + author) * 10 for number in range(_ENTRIES))
        insert(entries, [(_author(author), at, next(posts), *rest) for at in times])
    for merged in (False, True):
        authors = [_author(number) for number in range(0 if merged else HOT, HOT + _FOLLOWED)]
        for number in range(_READERS):
            reader = _reader(number, merged=merged)
            insert(following, [(reader, author, 0) for author in authors])
            copied = [(10_000_000 + at * 25, authors[-1 - at % _FOLLOWED]) for at in range(_COPIES)]
            insert(timelines, [(reader, at, next(posts), author, *rest) for at, author in copied])
    for model in _MODELS:
        session.execute(
            f"INSERT INTO {keyspace}.{POSITIONS} (projection, read_model, shard, lsn, epoch, committed_at)"
            " VALUES (%s, %s, 0, 1, 1, %s)",
            (settings.projector.projection, model.name, int(time.time() * 1e6)),
        )
