"""A post with 2,400 followers: from its commit until every copy is readable, beside the plain driver writing the same rows.

Relay and projector run as shipped, in their own processes; the end is the read model's covered position, which is published
when every copy is acknowledged. A reader waits for it as the read API's streams do, for the announcement after it: asking
a thousand times a second cost whoever asked 10 to 27 % of a core, which those who are measured lacked. The driver has its
rows ready-made and writes them in each of a few ways, all acknowledged; its figure is that of its best one. Rounds of both
take turns on one stack.
"""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import psycopg
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import BatchStatement, BatchType
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from command_api.process.settings import Settings
from projections.cassandra_table import POSITIONS, CassandraTable, cassandra_table
from projections.feeds import HOME_TIMELINE
from projections.partition_marks import Announcement
from tests.bench import lag

_FOLLOWERS = 2_400
_ROUNDS = 11
_WARM_UP = 3
_POSTS = 40  # of the load whose rows are counted
_DEADLINE_S = 120.0
_LOOK_S = 0.1  # a reader that is told nothing looks: a position may be covered by what writes nothing
_BATCHES = (5, 10)  # rows of a batch of the driver; Cassandra warns of more partitions in one
_FILL = """
    insert into users (user_id, name, last_seen_at) values ('{author}', 'Ada Lovelace', now());
    insert into users (user_id, name, last_seen_at)
    select lpad(to_hex(n), 32, '0')::uuid, 'reader ' || n, now() from generate_series(1, {followers}) n;
    insert into follows (follower_id, followee_id)
    select lpad(to_hex(n), 32, '0')::uuid, '{author}' from generate_series(1, {followers}) n
"""
_AUTHOR = uuid.UUID(int=1 << 64)
_BODY = "a post of some hundred characters, which is what people write when there is no more room to say it in"
Row = tuple[Any, ...]


def measure(settings: Settings) -> dict[str, float]:
    """fanout_2400_ms and fanout_2400_driver_ms (medians), their ratio, fanout_rows_per_s."""
    with lag.path(settings) as (conninfo, session, keyspace):  # noqa: SIM117 - the second is of the first
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(_FILL.format(author=_AUTHOR, followers=_FOLLOWERS).encode())
            lag.wait_covered(session, keyspace, conninfo)
            table = cassandra_table(HOME_TIMELINE, keyspace)
            ways = _ways(session, _plain_table(session, table))
            reader = _Reader(settings, session, keyspace)
            posts: list[float] = []
            driven: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(_WARM_UP + _ROUNDS):
                position, began = _publish(connection), time.perf_counter()  # the commit has returned
                reader.wait(position)
                seconds = time.perf_counter() - began
                if number >= _WARM_UP:
                    posts.append(seconds)
                rows = _rows(table, number)
                for name, write in ways.items():
                    began = time.perf_counter()
                    write(rows)
                    if number >= _WARM_UP:
                        driven[name].append(time.perf_counter() - began)
            _check(session, table, _WARM_UP + _ROUNDS)
            began = time.perf_counter()
            for _ in range(_POSTS):
                token = _publish(connection)
            reader.wait(token)
            rate = _POSTS * _FOLLOWERS / (time.perf_counter() - began)
            reader.close()
    ours, best = statistics.median(posts), min(statistics.median(each) for each in driven.values())
    return {
        "fanout_2400_ms": ours * 1_000,
        "fanout_2400_driver_ms": best * 1_000,
        "fanout_over_driver": ours / best,
        "fanout_rows_per_s": rate,
    }


def _publish(connection: psycopg.Connection[Any]) -> int:
    """A post; the position after it."""
    connection.execute(
        "insert into posts (post_id, author_id, body) values (%s, %s, %s)", (uuid.uuid4(), _AUTHOR, _BODY)
    )
    row = connection.execute("select (pg_current_wal_flush_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])


class _Reader:
    """Waits for the timeline's position."""

    def __init__(self, settings: Settings, session: Session, keyspace: str) -> None:
        read = f'SELECT lsn FROM "{keyspace}"."{POSITIONS}" WHERE projection = ? AND read_model = ? AND shard = 0'
        self._read = partial(session.execute, session.prepare(read), ("lockstep", HOME_TIMELINE.name))
        kafka = settings.kafka.model_copy(update={"topic": keyspace})  # as the path names its own
        self._told = Consumer({**kafka.client_properties(), "group.id": keyspace, "enable.auto.commit": False})
        self._told.assign([TopicPartition(kafka.announcements, 0, OFFSET_END)])

    def wait(self, position: int) -> None:
        """Returns when everything up to a position can be read."""
        began = time.perf_counter()
        while True:
            told = self._told.poll(_LOOK_S)
            value = told.value() if told is not None and told.error() is None else None
            if value is not None and msgspec.msgpack.decode(value, type=Announcement).lsn < position:
                continue
            if self._read().one().lsn >= position:
                return
            if time.perf_counter() - began > _DEADLINE_S:
                raise RuntimeError(f"the copies were not readable within {_DEADLINE_S:g} s")

    def close(self) -> None:
        self._told.close()


def _check(session: Session, table: CassandraTable, posts: int) -> None:
    """Every follower has every copy: the position has not been ahead of the rows."""
    for number in range(1, _FOLLOWERS + 1, 97):
        found = session.execute(f"SELECT count(*) FROM {table.qualified} WHERE user_id = %s", (uuid.UUID(int=number),))
        if found.one()[0] != posts:
            raise RuntimeError(f"reader {number} has {found} copies of {posts}")


def _rows(table: CassandraTable, number: int) -> list[Row]:
    """As many copies of a post as the projector writes, as the driver takes them."""
    post, at = uuid.uuid4(), 1_800_000_000_000_000 + number
    values = {"created_at": at, "post_id": post, "author_id": _AUTHOR, "author_name": "Ada Lovelace"}
    values |= {"avatar_url": None, "body": _BODY, "like_count": 0}
    readers = (uuid.UUID(int=reader) for reader in range(1, _FOLLOWERS + 1))
    return [tuple((values | {"user_id": reader})[name] for name in table.columns) for reader in readers]


def _plain_table(session: Session, table: CassandraTable) -> CassandraTable:
    """A table of the same form, so that the driver's rows are not in the read model's."""
    copy = replace(table, name="driver_copies")
    session.execute(copy.create(), timeout=60)
    return copy


def _ways(session: Session, table: CassandraTable) -> dict[str, Callable[[Sequence[Row]], None]]:
    insert = session.prepare(table.insert())
    insert.consistency_level = ConsistencyLevel.LOCAL_QUORUM

    def single(rows: Sequence[Row]) -> None:
        execute_concurrent_with_args(session, insert, rows, concurrency=256)

    def batched(size: int) -> Callable[[Sequence[Row]], None]:
        def write(rows: Sequence[Row]) -> None:
            left = threading.Semaphore(0)
            errors: list[BaseException] = []

            def failed(error: BaseException) -> None:
                errors.append(error)
                left.release()

            firsts = range(0, len(rows), size)
            for first in firsts:
                batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
                for row in rows[first : first + size]:
                    batch.add(insert, row)
                session.execute_async(batch).add_callbacks(lambda _: left.release(), failed)
            for _ in firsts:
                left.acquire()
            if errors:
                raise errors[0]

        return write

    return {"single": single} | {f"batches of {size}": batched(size) for size in _BATCHES}
