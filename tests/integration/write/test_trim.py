"""Trims against a real Cassandra: which rows go, which stay, and how many tombstones a read meets afterwards."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from projections.cassandra_table import CassandraTable
from projections.read_model import Clustering
from projections.values import Kind, ValueType
from projector.cassandra.trim import Trimmed, Trimmer
from projector.cassandra.write import Writer
from tests.integration.write.stand import TEXT, T

UUID = ValueType(kind=Kind.UUID)
CAP, SPARE = 800, 100
READER = str(uuid.UUID(int=7))


@pytest.fixture
def feed(cassandra_session: Session, made: str) -> CassandraTable:
    table = CassandraTable(
        keyspace=made,
        name="feed",
        columns={"user_id": UUID, "created_at": ValueType(kind=Kind.TIMESTAMPTZ), "post_id": UUID, "body": TEXT},
        partition_key=("user_id",),
        clustering=(Clustering(column="created_at", descending=True), Clustering(column="post_id")),
    )
    cassandra_session.execute(table.create())
    return table


@pytest.fixture
def filling(session: Session, feed: CassandraTable) -> Writer:
    writer = Writer(session)
    writer.prepare(feed)
    return writer


def row(at: int, number: int = 0) -> tuple[Any, ...]:
    return (READER, at, str(uuid.UUID(int=number)), "hello")


def stored(session: Session, feed: CassandraTable) -> list[tuple[int, int]]:
    rows = session.execute(f"SELECT created_at, post_id FROM {feed.qualified} WHERE user_id = {READER}")
    return [(at, post.int) for at, post in rows]


def tombstones(session: Session, feed: CassandraTable, limit: int) -> int:
    """What the server says that a read of the newest rows met."""
    query = SimpleStatement(f"SELECT * FROM {feed.qualified} WHERE user_id = {READER} LIMIT {limit}", fetch_size=5_000)
    trace = session.execute(query, trace=True).get_query_trace(20)
    found = [re.search(r"Read (\d+) live rows? and (\d+) tombstone", event.description) for event in trace.events]
    counts = [int(match[2]) for match in found if match]
    assert counts, [event.description for event in trace.events]
    return max(counts)


def test_the_newest_stay_and_newer_writes_too(
    cassandra_session: Session, feed: CassandraTable, filling: Writer
) -> None:
    filling.upsert("feed", [row(at) for at in range(10)], T)
    filling.upsert("feed", [row(1)], T + 5)
    filling.drain()
    found = Trimmer(cassandra_session, feed, keep=3, spare=2).trim([READER, str(uuid.UUID(int=8))], T + 4)
    assert found == {READER: Trimmed(rows=6, cut=True), str(uuid.UUID(int=8)): Trimmed(rows=0, cut=False)}
    assert stored(cassandra_session, feed) == [(9, 0), (8, 0), (7, 0), (1, 0)], "a row newer than the trim outlives it"


def test_rows_of_one_instant_are_told_apart(cassandra_session: Session, feed: CassandraTable, filling: Writer) -> None:
    filling.upsert("feed", [row(5, number) for number in range(8)] + [row(4), row(6)], T)
    filling.drain()
    Trimmer(cassandra_session, feed, keep=4, spare=0).trim([READER], T)
    assert stored(cassandra_session, feed) == [(6, 0), (5, 0), (5, 1), (5, 2)]


def test_a_few_too_many_are_left_alone(cassandra_session: Session, feed: CassandraTable, filling: Writer) -> None:
    filling.upsert("feed", [row(at) for at in range(5)], T)
    filling.drain()
    found = Trimmer(cassandra_session, feed, keep=3, spare=2).trim([READER], T)
    assert found == {READER: Trimmed(rows=5, cut=False)}
    assert len(stored(cassandra_session, feed)) == 5


@pytest.mark.timeout(120)
def test_a_read_of_the_newest_meets_no_tombstone(
    cassandra_session: Session, feed: CassandraTable, filling: Writer
) -> None:
    trimmer, at = Trimmer(cassandra_session, feed, keep=CAP, spare=SPARE), 0
    for turn in range(1, 9):
        for _ in range(200 if turn > 1 else 1_000):
            at += 1
            filling.upsert("feed", [row(at)], T + at)
        filling.drain()
        assert trimmer.trim([READER], T + at)[READER] == Trimmed(rows=CAP + SPARE + 1, cut=True)
    assert len(stored(cassandra_session, feed)) == CAP
    met = {limit: tombstones(cassandra_session, feed, limit) for limit in (50, CAP, 5_000)}
    assert met[50] == met[CAP] == 0
    assert met[5_000] <= 2, "of eight trims, one tombstone is left, whose two ends are counted"


def test_one_partition_that_cannot_be_read_holds_up_no_other(
    cassandra_session: Session, made: str, session: Session
) -> None:
    table = CassandraTable(
        keyspace=made,
        name="named",
        columns={"name": TEXT, "at": ValueType(kind=Kind.TIMESTAMPTZ)},
        partition_key=("name",),
        clustering=(Clustering(column="at", descending=True),),
    )
    cassandra_session.execute(table.create().replace('"name" text', '"name" ascii'))
    writer = Writer(session)
    writer.prepare(table)
    writer.upsert("named", [("ann", at) for at in range(9)], T)
    writer.drain()
    too_long, refused = "x" * 70_000, "é"  # the one is no key at all, the other none of this table's
    found = Trimmer(session, table, keep=3, spare=0).trim([too_long, refused, "ann"], T + 4)
    assert found == {too_long: None, refused: None, "ann": Trimmed(rows=4, cut=True)}
    rows = session.execute(f"SELECT at FROM {table.qualified} WHERE name = 'ann'")
    assert [at for (at,) in rows] == [8, 7, 6]


def test_statements_that_could_not_all_be_prepared_are_prepared_again(
    cassandra_session: Session, session: Session, feed: CassandraTable, made: str
) -> None:
    cassandra_session.execute(f"DROP TABLE {feed.qualified}")
    cassandra_session.execute(
        f"CREATE TABLE {feed.qualified} (user_id uuid, created_at bigint, post_id uuid, PRIMARY KEY (user_id, created_at))"
    )
    trimmer = Trimmer(cassandra_session, feed, keep=2, spare=0)
    assert trimmer.trim([READER], T) == {READER: None}
    cassandra_session.execute(f"DROP TABLE {feed.qualified}")
    cassandra_session.execute(feed.create())
    writer = Writer(session)
    writer.prepare(feed)
    writer.upsert("feed", [row(5, number) for number in range(5)], T)
    writer.drain()
    assert trimmer.trim([READER], T) == {READER: Trimmed(rows=3, cut=True)}
    assert stored(cassandra_session, feed) == [(5, 0), (5, 1)]
