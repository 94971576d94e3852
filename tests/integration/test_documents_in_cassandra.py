"""Embedded documents in a real Cassandra: set-up, what the writer puts there, what a driver and the read API give back."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from cassandra.cluster import Session
from cassandra.util import Date as CassandraDate
from sqlalchemy import BigInteger as Big
from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Time,
    Uuid,
    select,
)
from typer.testing import CliRunner

from command_api.process.settings import Cassandra, Projector, Settings
from projections.cassandra_table import CassandraTable, cassandra_table, write_timestamp
from projections.document_values import encode
from projections.documents import embedded
from projections.read_model import ReadModel
from projections.values import Kind, ValueType
from projector.__main__ import app
from projector.cassandra.errors import MissingTableError
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from projector.setup import reset, set_up
from read_api.app import ReadApi

T = write_timestamp(1, 1_000)
SEED = 31
TYPES: dict[str, Any] = {
    "ok": Boolean(),
    "small": SmallInteger(),
    "plain": Integer(),
    "big": Big(),
    "money": Numeric(12, 2),
    "any_number": Numeric(),
    "txt": Text(),
    "id": Uuid(),
    "day": Date(),
    "at": Time(),
    "ts": DateTime(),
    "tz": DateTime(timezone=True),
    "class": Text(),  # a word of Python's and one of CQL's: field names are only names
    "order": Integer(),
}
METADATA = MetaData()
owners = Table("owners", METADATA, Column("owner_id", Integer, primary_key=True), Column("name", Text))
things = Table(
    "things",
    METADATA,
    Column("thing_id", Integer, primary_key=True),
    Column("owner_id", Integer),
    *(Column(name, kind) for name, kind in TYPES.items()),
)


def model(*names: str, name: str = "owner_page") -> ReadModel:
    own = (
        select(*(things.c[n] for n in names)).where(things.c.owner_id == owners.c.owner_id).order_by(things.c.thing_id)
    )
    return ReadModel(
        name=name,
        select=select(owners.c.owner_id, *embedded("things", own, bound=100), owners.c.name),
        partition_key=("owner_id",),
    )


MODEL = model(*TYPES)
MODELS = (MODEL,)


@pytest.fixture
def settings(stack: Any, keyspace: str) -> Settings:
    host, port = stack.cassandra
    return Settings(
        cassandra=Cassandra(contact_points=(host,), port=port, keyspace=keyspace),
        projector=Projector(projection="test", read_models=f"{__name__}:MODELS"),
    )


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    """The projector's own session."""
    session = connect(settings.cassandra)
    yield session
    close(session)


@pytest.fixture
def table(session: Session, settings: Settings) -> CassandraTable:
    set_up(session, settings, MODELS)
    return cassandra_table(MODEL, settings.cassandra.keyspace)


LIMITS = {16: 1 << 15, 32: 1 << 31, 64: 1 << 63}


def value(chance: random.Random, kind: ValueType) -> Any:
    """A replica value, extremes often."""
    match kind.kind:
        case Kind.BOOLEAN:
            return chance.randint(0, 1)
        case Kind.INTEGER:
            limit = LIMITS[kind.bits]
            return chance.choice([-limit, limit - 1, 0, chance.randint(-limit, limit - 1)])
        case Kind.NUMERIC if kind.scale is not None:
            return chance.choice([0, -1, 10**12 - 1, -(10**12) + 1, chance.randint(-(10**12), 10**12)])
        case Kind.NUMERIC:
            return chance.choice(["0.10", "-" + "9" * 60 + "." + "1" * 40, "1000000", "0.00000001"])
        case Kind.TEXT:
            return "".join(chance.choice('aé"\\\n\x01/ 🙂\u2028') for _ in range(chance.randint(0, 12)))
        case Kind.UUID:
            return str(uuid.UUID(int=chance.getrandbits(128)))
        case Kind.DATE:
            return chance.choice([(1 << 31) - 1, -(1 << 31), 0, chance.randint(-2_440_588, 2_145_042_905)])
        case Kind.TIME:
            return chance.choice([0, 86_399_999_999, chance.randrange(86_400_000_000)])
    return chance.choice([(1 << 63) - 1, -(1 << 63), -1, chance.randint(-(1 << 60), 1 << 60)])


def documents() -> dict[int, list[tuple[Any, ...]]]:
    """Owner to rows of replica values: none, one, many; with nulls, and a row of nulls alone."""
    chance = random.Random(SEED)
    kinds = [kind for _, kind in MODEL.columns["things"].fields]
    made = {
        owner: [tuple(None if chance.random() < 0.2 else value(chance, kind) for kind in kinds) for _ in range(count)]
        for owner, count in enumerate([0, 1, 2, 100, *(chance.randint(0, 30) for _ in range(40))])
    }
    made[99] = [(None,) * len(kinds)]
    return made


def write(session: Session, table: CassandraTable, made: dict[int, list[tuple[Any, ...]]]) -> None:
    writer = Writer(session)
    writer.prepare(table)
    writer.upsert(table.name, [(owner, encode(rows), len(rows) == 100, "n") for owner, rows in made.items()], T)
    writer.drain()


def in_replica_form(found: Any, kind: ValueType) -> Any:
    """What the driver gives, back as the replica has it."""
    if found is None:
        return None
    match kind.kind:
        case Kind.BOOLEAN:
            return int(found)
        case Kind.NUMERIC if kind.scale is not None:
            assert found.as_tuple().exponent == -kind.scale
            return int(found.scaleb(kind.scale))
        case Kind.NUMERIC:
            return format(found, "f")
        case Kind.UUID:
            return str(found)
        case Kind.DATE:
            return found.days_from_epoch
        case Kind.TIME:
            return found.nanosecond_time // 1_000
    return found


def test_a_plain_driver_reads_what_was_written(
    session: Session, cassandra_session: Session, table: CassandraTable
) -> None:
    made = documents()
    write(session, table, made)
    fields = MODEL.columns["things"].fields
    found = {}
    for row in cassandra_session.execute(f"SELECT owner_id, things, things_truncated FROM {table.qualified}"):
        found[row.owner_id] = [
            tuple(in_replica_form(value, kind) for value, (_, kind) in zip(thing, fields, strict=True))
            for thing in row.things
        ]
        assert row.things_truncated is (len(row.things) == 100)
    assert found == made
    (cell,) = cassandra_session.execute(
        f"SELECT things, WRITETIME(things) AS w FROM {table.qualified} WHERE owner_id = 2"
    )
    assert cell.w == T
    assert cell.things[0]._fields[:3] == ("ok", "small", "plain")


def test_another_writer_with_the_driver_stores_the_same_bytes(
    session: Session, cassandra_session: Session, table: CassandraTable
) -> None:
    """Rows equal by value may differ in bytes: at one timestamp Cassandra would keep the larger."""
    fields = MODEL.columns["things"].fields
    made = {owner: rows for owner, rows in documents().items() if not any(None in row for row in rows)} | {
        500: [tuple(value(random.Random(n), kind) for _, kind in fields) for n in range(20)]
    }
    write(session, table, made)
    insert = cassandra_session.prepare(f"INSERT INTO {table.qualified} (owner_id, things) VALUES (?, ?)")
    bound = {}
    for owner, rows in made.items():
        things = [tuple(as_bound(v, kind) for v, (_, kind) in zip(row, fields, strict=True)) for row in rows]
        cassandra_session.execute(insert, (owner + 1_000, things))
        bound[owner] = insert.bind((owner, things)).values[1]
    encoder = Writer(session)
    encoder.prepare(table)
    for owner, rows in made.items():
        (entry,) = encoder._upserts[table.name].bind([(owner, encode(rows), 0, None)])
        assert bound[owner] in entry


def as_bound(replica: Any, kind: ValueType) -> Any:
    match kind.kind:
        case Kind.BOOLEAN:
            return bool(replica)
        case Kind.NUMERIC:
            return Decimal(replica) if kind.scale is None else Decimal(replica).scaleb(-kind.scale)
        case Kind.UUID:
            return uuid.UUID(replica)
        case Kind.DATE:
            return CassandraDate(replica)
        case Kind.TIME:
            return replica * 1_000
    return replica


def test_the_read_api_gives_each_field_as_it_gives_a_column(
    session: Session, settings: Settings, table: CassandraTable
) -> None:
    """Beside the documents, each of their rows stands in a table of its own: both replies must say the same."""
    flat = ReadModel(
        name="flat",
        select=select(things.c.owner_id, things.c.thing_id, *(things.c[name] for name in TYPES)),
        partition_key=("owner_id",),
        clustering_key=("thing_id",),
    )
    made = documents()
    set_up(session, settings, (flat,))
    write(session, table, made)
    writer = Writer(session)
    writer.prepare(cassandra_table(flat, settings.cassandra.keyspace))
    writer.upsert("flat", [(o, n, *row) for o, rows in made.items() for n, row in enumerate(rows)], T)
    writer.drain()

    async def check() -> None:
        application = ReadApi(settings, (MODEL, flat))
        await application.service.start()
        try:
            await asyncio.wait_for(application.service.store.connected(), 20)
            transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                schema = (await client.get("/openapi.json")).json()["components"]["schemas"]
                for owner, rows in made.items():
                    (page,) = (await client.get(f"/read/owner_page/{owner}")).json()["rows"]
                    beside = (await client.get(f"/read/flat/{owner}", params={"limit": 1_000})).json()["rows"]
                    for row in beside:
                        del row["owner_id"], row["thing_id"]
                    assert page["things"] == beside
                    assert page["things_truncated"] is (len(rows) == 100)
                    assert (await client.get(f"/read/owner_page/{owner}", params={"things": "[]"})).status_code == 400
        finally:
            await application.service.stop()
        (items,) = (schema["owner_page"]["properties"]["things"]["items"],)
        assert items["required"] == list(TYPES)
        assert items["properties"] == {name: schema["flat"]["properties"][name] for name in TYPES}

    asyncio.run(check())


def test_set_up_may_be_repeated_and_reset_takes_another_shape(
    session: Session, cassandra_session: Session, settings: Settings, table: CassandraTable
) -> None:
    write(session, table, documents())
    set_up(session, settings, MODELS)
    stored = f"SELECT count(*) AS n FROM {table.qualified}"
    assert cassandra_session.execute(stored).one().n == len(documents())
    changed = model("txt", "plain")
    reset(session, settings, (changed,))
    assert cassandra_session.execute(stored).one().n == 0
    narrow = cassandra_table(changed, settings.cassandra.keyspace)
    write(session, narrow, {1: [("a", 1), (None, 2)]})
    (row,) = cassandra_session.execute(f"SELECT things FROM {table.qualified}")
    assert [tuple(thing) for thing in row.things] == [("a", 1), (None, 2)]


def test_a_type_with_other_fields_is_refused_before_anything_is_written(session: Session, settings: Settings) -> None:
    """Two texts changed places: every value would be taken for the other's."""
    set_up(session, settings, (model("txt", "class"),))
    writer = Writer(session)
    writer.prepare(cassandra_table(model("txt", "class"), settings.cassandra.keyspace))
    for other in (model("class", "txt"), model("txt"), model("txt", "plain"), model("txt", "class", "plain")):
        with pytest.raises(MissingTableError, match=r"things are \(txt text, class text\).*projector reset owner_page"):
            writer.prepare(cassandra_table(other, settings.cassandra.keyspace))


def test_a_column_that_is_no_document_in_cassandra_is_refused(session: Session, settings: Settings) -> None:
    declared = cassandra_table(MODEL, settings.cassandra.keyspace)
    text = replace(declared, columns=declared.columns | {"things": ValueType(kind=Kind.TEXT)})
    set_up(session, settings, ())
    session.execute(text.create())
    with pytest.raises(MissingTableError, match="projector reset"):
        Writer(session).prepare(declared)


def test_a_document_that_does_not_fit_is_refused_by_key(
    session: Session, cassandra_session: Session, settings: Settings
) -> None:
    chosen = model("at", "txt")
    set_up(session, settings, (chosen,))
    table = cassandra_table(chosen, settings.cassandra.keyspace)
    writer = Writer(session)
    writer.prepare(table)
    for bad, reason in ((encode([(86_400_000_000, "x")]), "before 24:00"), ("[[1]]", "no document of")):
        writer.upsert(table.name, [(1, bad, 0, None), (2, "[]", 0, None)], T)
        with pytest.raises(Exception, match=rf"owner_page\(owner_id=1\): column things .*{reason}"):
            writer.drain()
    assert [(r.owner_id, r.things) for r in cassandra_session.execute(f"SELECT owner_id, things FROM {table.qualified}")] == [(2, [])]  # fmt: skip


def test_tables_prints_the_type_before_the_table(settings: Settings) -> None:
    environment = {
        "LOCKSTEP_CASSANDRA__KEYSPACE": "shop",
        "LOCKSTEP_PROJECTOR__READ_MODELS": f"{__name__}:MODELS",
    }
    shown = CliRunner().invoke(app, ["tables"], env=environment)
    assert shown.exit_code == 0, shown.output
    made, used = (
        'CREATE TYPE IF NOT EXISTS "shop"."owner_page_things"',
        'CREATE TABLE IF NOT EXISTS "shop"."owner_page"',
    )
    assert 0 < shown.output.index(made) < shown.output.index(used)
