"""The SQL of embedded documents on a real Postgres: its rows, and its values in replica form, against other means.

The replica form of each value is computed by Postgres itself (`tests.oracle.postgres.in_replica_form`), apart from the
reader of its JSON that is under test.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
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
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from projections.document_values import decode, encode, from_postgres
from projections.documents import embedded
from projections.values import Kind, value_type
from tests.oracle.postgres import in_replica_form, text_of

Connection = psycopg.Connection[Any]
TYPES: dict[str, Any] = {
    "ok": Boolean(),
    "small": SmallInteger(),
    "plain": Integer(),
    "big": Big(),
    "money": Numeric(12, 2),
    "thousands": Numeric(6, -3),
    "widest": Numeric(18, 18),
    "any": Numeric(),
    "long": Numeric(40, 10),
    "txt": Text(),
    "id": Uuid(),
    "day": Date(),
    "at": Time(),
    "ts": DateTime(),
    "tz": DateTime(timezone=True),
    "ms": postgresql.TIMESTAMP(timezone=True, precision=3),
}
METADATA = MetaData()
parents = Table("parents", METADATA, Column("parent_id", Integer, primary_key=True))
children = Table(
    "children",
    METADATA,
    Column("child_id", Integer, primary_key=True),
    Column("parent_id", Integer),
    *(Column(name, kind) for name, kind in TYPES.items()),
)
SEED = 20_240_229


@pytest.fixture
def connection(empty_database: str) -> Iterator[Connection]:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for table in METADATA.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=postgresql.dialect())).encode())  # type: ignore[no-untyped-call]
        yield connection


def digits(chance: random.Random, whole: int, fraction: int) -> str:
    number = chance.randint(-(10 ** (whole + fraction)) + 1, 10 ** (whole + fraction) - 1)
    return format(Decimal(number).scaleb(-fraction), "f")


def instant(chance: random.Random) -> str:
    if chance.random() < 0.1:
        return chance.choice(["infinity", "-infinity", "4713-01-01 00:00:00 BC", "294246-12-31 23:59:59.999999"])
    year, bc = (chance.randint(1, 4_700), " BC") if chance.random() < 0.2 else (chance.randint(1, 200_000), "")
    year = chance.randint(1_900, 2_100) if chance.random() < 0.5 else year
    day = f"{year:04d}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
    clock = f"{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:{chance.randint(0, 59):02d}"
    return f"{day} {clock}.{chance.choice([0, 1, 10, 123_456, 999_999]):06d}{bc}"


def some_value(chance: random.Random, name: str) -> str:
    kind = TYPES[name]
    match value_type(kind).kind:
        case Kind.BOOLEAN:
            return chance.choice(["true", "false"])
        case Kind.INTEGER:
            limit = 1 << value_type(kind).bits - 1
            return str(chance.choice([-limit, limit - 1, 0, chance.randint(-limit, limit - 1)]))
        case Kind.NUMERIC:
            return {
                "money": lambda: digits(chance, 10, 2),
                "thousands": lambda: digits(chance, 8, 0),
                "widest": lambda: digits(chance, 0, 18),
                "long": lambda: digits(chance, 30, 10),
                "any": lambda: chance.choice(["NaN", "Infinity", "0", "1.10", digits(chance, 90, 200), "0." + "0" * 60 + "1"]),
            }[name]()  # fmt: skip
        case Kind.TEXT:
            points = [*range(1, 0x250), 0x2028, 0xFEFF, 0xFFFF, 0x1F642, 0x10FFFF]
            return "".join(chr(chance.choice(points)) for _ in range(chance.randint(0, 20)))
        case Kind.UUID:
            return f"{chance.getrandbits(128):032x}"
        case Kind.DATE:
            return chance.choice(
                [
                    "infinity",
                    "-infinity",
                    "2024-02-29",
                    "4713-01-01 BC",
                    "0001-02-28 BC",
                    "5874897-12-31",
                    instant(chance),
                ]
            )
        case Kind.TIME:
            return chance.choice(["00:00", "23:59:59.999999", "24:00:00", f"12:30:00.{chance.randint(0, 999_999):06d}"])
    return instant(chance)


def fill(connection: Connection, chance: random.Random, count: int, parent: int) -> None:
    for child in range(count):
        given = [None if chance.random() < 0.15 else some_value(chance, name) for name in TYPES]
        places = ", ".join(
            f"%s::{kind.compile(dialect=postgresql.dialect())}"  # type: ignore[no-untyped-call]
            for kind in TYPES.values()
        )
        connection.execute(f"INSERT INTO children VALUES (%s, %s, {places})".encode(), (child, parent, *given))


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Africa/Monrovia"])
def test_values_of_every_kind_come_exactly(connection: Connection, zone: str) -> None:
    connection.execute("INSERT INTO parents VALUES (1)")
    fill(connection, random.Random(SEED), 400, 1)
    names = list(TYPES)
    own = (
        select(*(children.c[name] for name in names))
        .where(children.c.parent_id == parents.c.parent_id)
        .order_by(children.c.child_id)
    )
    document, _ = embedded("v", own, bound=1_000)
    connection.execute(f"SET TimeZone = '{zone}'".encode())
    text = connection.execute(f"SELECT v::text FROM ({text_of(select(document))}) AS s".encode()).fetchone()
    connection.execute("SET TimeZone = 'UTC'")
    converted = ", ".join(in_replica_form(f'"{name}"', value_type(TYPES[name])) for name in names)
    wanted = connection.execute(f"SELECT {converted} FROM children ORDER BY child_id".encode()).fetchall()
    assert text is not None
    fields = document.type.fields  # type: ignore[attr-defined]
    replica = from_postgres(text[0], fields)
    rows = decode(replica, fields)
    assert len(rows) == 400
    for found, row in zip(rows, wanted, strict=True):
        plain = [int(v) if isinstance(v, Decimal) and v == v.to_integral_value() else v for v in row]
        assert dict(zip(names, found, strict=True)) == dict(zip(names, plain, strict=True))
    assert encode(rows) == replica


def test_the_first_rows_stay_in_order_and_the_marker_says_when_there_were_more(connection: Connection) -> None:
    chance = random.Random(SEED)
    counts = {parent: parent % 7 for parent in range(40)}
    wanted = {}
    for parent, count in counts.items():
        connection.execute("INSERT INTO parents VALUES (%s)", (parent,))
        mine = [(parent * 100 + n, chance.randint(0, 3)) for n in range(count)]
        for child, plain in mine:
            connection.execute(
                "INSERT INTO children (child_id, parent_id, plain) VALUES (%s, %s, %s)", (child, parent, plain)
            )
        kept = sorted((c for c in mine if c[1]), key=lambda c: (-c[1], c[0]))
        wanted[parent] = ([{"child_id": c, "p": p} for c, p in kept[:3]], len(kept) > 3)
    p = parents.alias("p")
    for parent_table in (parents, p):
        own = (
            select(children.c.child_id, children.c.plain.label("p"))
            .where(children.c.parent_id == parent_table.c.parent_id, children.c.plain > 0)
            .order_by(children.c.plain.desc(), children.c.child_id)
        )
        statement = select(parent_table.c.parent_id, *embedded("v", own, bound=3))
        found = connection.execute(text_of(statement).encode()).fetchall()
        assert {parent: (document, cut) for parent, document, cut in found} == wanted
    assert {cut for _, cut in wanted.values()} == {True, False}
    assert json.dumps([]) in {json.dumps(rows) for rows, _ in wanted.values()}
