"""Every function, operator and cast that a read model may compute with gives what PostgreSQL gives, errors included.

Values are random within and at the edges of each type. The compiled SQL runs over a replica, the same expression in
Postgres in one query for many rows; a row that fails there must fail here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
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
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    not_,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement

from projections.read_model import ReadModel
from projections.values import Kind, ValueType, value_type
from projector.compile.functions import (
    DATE_INFINITY,
    DATE_NEGATIVE_INFINITY,
    TIMESTAMP_INFINITY,
    TIMESTAMP_NEGATIVE_INFINITY,
)
from projector.compile.program import Program, compile_models
from projector.replica.schema import open_replica
from tests.oracle.postgres import in_replica_form, text_of

if TYPE_CHECKING:
    from tests.conftest import Stack

v = Table(
    "v",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("small", SmallInteger),
    Column("i", Integer),
    Column("j", Integer),
    Column("big", BigInteger),
    Column("n", Numeric(12, 2)),
    Column("fine", Numeric(10, 4)),
    Column("whole", Numeric(9, 0)),
    Column("t", Text),
    Column("t2", Text),
    Column("b", Boolean),
    Column("b2", Boolean),
    Column("day", Date),
    Column("stamp", DateTime),
    Column("tz", DateTime(timezone=True)),
    Column("clock", Time),
    Column("uuid", Uuid),
)
c = v.c
t_c, t2_c = c.t.collate("C"), c.t2.collate("C")
DIGITS = Numeric(18, 4)
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _extracts() -> Iterator[tuple[str, ColumnElement[Any]]]:
    for field in ("year", "quarter", "month", "week", "isoyear", "day", "dow", "isodow", "doy", "hour", "minute"):
        for column in (c.stamp, c.tz):
            yield f"{field} of {column.name}", cast(extract(field, column), Integer)
        if field in ("hour", "minute"):
            yield f"{field} of clock", cast(extract(field, c.clock), Integer)
        else:
            yield f"{field} of day", cast(extract(field, c.day), Integer)


def _truncations() -> Iterator[tuple[str, ColumnElement[Any]]]:
    for field in (
        "microseconds",
        "milliseconds",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "quarter",
        "year",
    ):
        yield f"date_trunc {field} stamp", func.date_trunc(field, c.stamp, type_=DateTime())
        yield f"date_trunc {field} tz", func.date_trunc(field, c.tz, type_=DateTime(timezone=True))
    yield "date_trunc with zone", func.date_trunc("day", c.tz, "UTC", type_=DateTime(timezone=True))


EXPRESSIONS: dict[str, ColumnElement[Any]] = {
    "int + int": c.i + c.j,
    "int - int": c.i - c.j,
    "int * int": c.i * c.j,
    "int // 7": c.i // 7,
    "int // -1": c.i // -1,
    "int % 7": c.i % 7,
    "int % -1": c.i % -1,
    "small + small": cast(c.small, Integer) + c.i,
    "big + int": c.big + c.i,
    "big * int": c.big * c.i,
    "big // 3": c.big // 3,
    "-int": -c.i,
    "-small": -c.small,
    "-big": -c.big,
    "-numeric": -c.n,
    "abs int": func.abs(c.i, type_=Integer),
    "abs small": func.abs(c.small, type_=SmallInteger),
    "abs big": func.abs(c.big, type_=BigInteger),
    "abs numeric": func.abs(c.n, type_=Numeric(12, 2)),
    "chain": c.i + c.j + 1 - c.i * 2,
    "numeric + numeric": cast(c.n + c.fine, DIGITS),
    "numeric - int": cast(c.n - c.i, DIGITS),
    "numeric * int": cast(c.n * c.small, DIGITS),
    "numeric * numeric": cast(cast(c.n, Numeric(7, 2)) * cast(c.fine, Numeric(7, 2)), DIGITS),
    "numeric > numeric": c.n > c.fine,
    "numeric = int": c.n == c.i,
    "numeric < constant": c.n < Decimal("1.005"),
    "int <= numeric constant": c.i <= literal(Decimal("0.5")),
    "whole = int": c.whole == c.i,
    "numeric to numeric(10,1)": cast(c.fine, Numeric(10, 1)),
    "numeric to numeric(3,0)": cast(c.fine, Numeric(3, 0)),
    "numeric to more digits": cast(c.n, Numeric(15, 5)),
    "numeric to int": cast(c.n, Integer),
    "numeric to small": cast(c.n, SmallInteger),
    "numeric to big": cast(c.fine, BigInteger),
    "int to numeric": cast(c.i, Numeric(12, 2)),
    "big to int": cast(c.big, Integer),
    "int to small": cast(c.i, SmallInteger),
    "small to big": cast(c.small, BigInteger),
    "int to text": cast(c.i, Text),
    "big to text": cast(c.big, Text),
    "numeric to text": cast(c.n, Text),
    "whole to text": cast(c.whole, Text),
    "bool to text": cast(c.b, Text),
    "bool to int": cast(c.b, Integer),
    "uuid to text": cast(c.uuid, Text),
    "day to text": cast(c.day, Text),
    "stamp to day": cast(c.stamp, Date),
    "tz to day": cast(c.tz, Date),
    "day to stamp": cast(c.day, DateTime()),
    "day to tz": cast(c.day, DateTime(timezone=True)),
    "stamp to tz": cast(c.stamp, DateTime(timezone=True)),
    "tz to stamp": cast(c.tz, DateTime()),
    "day + int": c.day + c.small,
    "day - int": c.day - c.small,
    "day - day": cast(c.day - cast(c.stamp, Date), Integer),
    "day < day": c.day < cast(c.tz, Date),
    "stamp < stamp": c.stamp < cast(c.tz, DateTime()),
    "text = text": c.t == c.t2,
    "text < text": t_c < t2_c,
    "text between": type_coerce(t_c.between("a", "é"), Boolean),
    "text in": c.t.in_(["a", "", "é"]),
    "text not in": c.t.not_in(["a", "b"]),
    "like prefix": c.t.like("a%"),
    "like one": c.t.like("_"),
    "like inside": c.t.like("%é_%"),
    "like escaped": c.t.like("%\\%%"),
    "like own escape": c.t.like("%#_%", escape="#"),
    "like quote": c.t.like("%'%", escape="!"),
    "like underscores": c.t.like("__"),
    "not like": c.t.not_like("%a%"),
    "concatenation": c.t + "-" + c.t2,
    "concatenated casts": c.t + cast(c.i, Text),
    "lower": func.lower(t_c, type_=Text),
    "upper": func.upper(t_c, type_=Text),
    "lower posix": func.lower(c.t.collate("POSIX"), type_=Text),
    "lower ucs_basic": func.lower(c.t.collate("ucs_basic"), type_=Text),
    "text < text ucs_basic": c.t.collate("ucs_basic") < c.t2,
    "text < text pg_c_utf8": c.t.collate("pg_c_utf8") < c.t2,
    "length": func.length(c.t, type_=Integer),
    "char_length": func.char_length(c.t, type_=Integer),
    "coalesce": func.coalesce(c.i, c.j, 0),
    "coalesce text": func.coalesce(c.t, "none"),
    "coalesce numerics": cast(func.coalesce(c.n, c.fine), DIGITS),
    "nullif": func.nullif(c.i, c.j, type_=Integer),
    "nullif text": func.nullif(c.t, "", type_=Text),
    "case": case((c.i > 0, "up"), (c.i < 0, "down"), else_="flat"),
    "case without else": case((c.b, c.i), (c.b2, c.j)),
    "case of value": case({1: "one", 0: "zero"}, value=c.i),
    "case numeric": cast(case((c.b, c.n), else_=c.fine), DIGITS),
    "and": and_(c.b, c.b2),
    "or": or_(c.b, c.b2),
    "not": type_coerce(not_(and_(c.b, c.b2)), Boolean),
    "not or": type_coerce(not_(or_(c.b, c.i == 1)), Boolean),
    "is null": c.i.is_(None),
    "is not null": c.t.is_not(None),
    "is true": c.b.is_(True),
    "is not true": c.b.is_not(True),
    "is distinct": c.i.is_distinct_from(c.j),
    "is not distinct": c.t.is_not_distinct_from(c.t2),
    "int = int": c.i == c.j,
    "int <> int": c.i != c.j,
    "int between": type_coerce(c.i.between(c.j, 7), Boolean),
    "not between": type_coerce(not_(c.i.between(c.j, 7)), Boolean),
    "int in": c.i.in_([0, 1, 7]),
    "bool = bool": c.b == c.b2,
    "big = int": c.big == c.i,
    "small < big": c.small < c.big,
    "uuid = uuid text": cast(c.uuid, Text) == c.t,
    "clock < clock": c.clock < c.clock,
    **dict(_extracts()),
    **dict(_truncations()),
}


Draw = Callable[[Random], Any]


def _integers(bits: int) -> Draw:
    top = (1 << bits - 1) - 1
    edges = (0, 1, -1, 2, 7, -8, top, -top - 1)
    return lambda rng: rng.choice(edges) if rng.random() < 0.4 else rng.randint(-top - 1, top) >> rng.randrange(bits)


def _scaled(precision: int) -> Draw:
    top = 10**precision - 1
    edges = (0, 5, -5, 50, 150, -150, 25_000, -25_000, top, -top)
    return lambda rng: (
        rng.choice(edges) if rng.random() < 0.4 else rng.randint(-top, top) // 10 ** rng.randrange(precision)
    )


_TEXTS = (
    "",
    "a",
    "A",
    "é",
    "É",
    "ab",
    "aé%",
    "a_b",
    "%",
    "\\",
    "'",
    "İı",
    "ß",
    "a\n",
    "ab!'",
    "\U0001f600_",
    "Ǆ",
    "a ",
)
_LETTERS = "aAbéÉß%_\\' \n\x7f\u0130\u1e9e\uffff\U0010ffff"
_DAY_EDGES = (0, -1, 59, 60, 11_016, 19_782, 19_783, -719_162, -719_163, -719_528, -719_529, -2_440_588, 106_751_990)


def _text(rng: Random) -> str:
    return rng.choice(_TEXTS) if rng.random() < 0.5 else "".join(rng.choices(_LETTERS, k=rng.randrange(7)))


def _day(rng: Random) -> int:
    return rng.choice((rng.choice(_DAY_EDGES), rng.randint(-2_440_588, 106_751_990), rng.randint(-1_000_000, 100_000)))


def _clock(rng: Random) -> int:
    return rng.choice((0, 1, 86_399_999_999, 3_600_000_000, rng.randrange(86_400_000_000)))


def _stamp(rng: Random) -> int:
    if rng.random() < 0.1:
        return rng.choice((TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY))
    return _day(rng) * 86_400_000_000 + _clock(rng)


VALUES: dict[str, Draw] = {
    "small": _integers(16),
    "i": _integers(32),
    "j": _integers(32),
    "big": _integers(64),
    "n": _scaled(12),
    "fine": _scaled(10),
    "whole": _scaled(9),
    "t": _text,
    "t2": _text,
    "b": lambda rng: rng.randrange(2),
    "b2": lambda rng: rng.randrange(2),
    "day": lambda rng: rng.choice((DATE_INFINITY, DATE_NEGATIVE_INFINITY)) if rng.random() < 0.1 else _day(rng),
    "stamp": _stamp,
    "tz": _stamp,
    "clock": _clock,
    "uuid": lambda rng: str(UUID(int=rng.getrandbits(128))),
}


def _literal(kind: ValueType, sql_type: str, value: Any) -> str:
    """A value in replica form as Postgres's."""
    if value is None:
        return f"NULL::{sql_type}"
    match kind.kind:
        case Kind.NUMERIC:
            return f"{Decimal(value).scaleb(-(kind.scale or 0)):f}::{sql_type}"
        case Kind.TEXT | Kind.UUID:
            return "'" + str(value).replace("'", "''") + f"'::{sql_type}"
        case Kind.DATE if value in (DATE_INFINITY, DATE_NEGATIVE_INFINITY):
            return f"'{'' if value > 0 else '-'}infinity'::date"
        case Kind.DATE:
            return f"(date '1970-01-01' + ({value}))"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ if value in (TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY):
            return f"'{'' if value > 0 else '-'}infinity'::{sql_type}"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            days, micros = divmod(value, 86_400_000_000)
            return f"('1970-01-01 00:00:00'::{sql_type} + interval '{days} days {micros} microseconds')"
        case Kind.TIME:
            return f"(time '00:00' + interval '{value} microseconds')"
        case Kind.BOOLEAN:
            return "true" if value else "false"
    return f"'{value}'::{sql_type}"


@pytest.fixture(scope="module")
def postgres(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """A connection under UTC."""
    with psycopg.connect(stack.postgres_admin, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@cache
def _compiled(name: str) -> tuple[Program, sqlite3.Connection, str, ReadModel]:
    model = ReadModel(name="m", select=select(c.id, EXPRESSIONS[name].label("r")), partition_key=("id",))
    program = compile_models([model])
    sql = program.models[0].analysis.outputs[1].expression.sql(lambda _, column: f'o0."{column}"')
    return program, open_replica(None, program, "log"), sql, model


def _error_or(run: Any) -> Any:
    try:
        return run()
    except (sqlite3.Error, psycopg.Error):
        return "error"


def _here(connection: sqlite3.Connection, sql: str, row: int) -> Any:
    return _error_or(lambda: connection.execute(f"SELECT {sql} FROM main.v AS o0 WHERE id = ?", (row,)).fetchone()[0])


def _there(
    postgres: psycopg.Connection[Any], model: ReadModel, used: list[str], rows: list[dict[str, Any]]
) -> list[Any]:
    types = {name: (value_type(c[name].type), c[name].type.compile(dialect=DIALECT)) for name in used}
    tuples = [
        f"({at}" + "".join(f", {_literal(*types[name], row[name])}" for name in used) + ")"
        for at, row in enumerate(rows)
    ]
    names = ", ".join(["id", *used])
    result = in_replica_form("w.r", model.columns["r"])

    def run(chosen: list[str]) -> list[Any]:
        query = f"WITH v({names}) AS (VALUES {', '.join(chosen)}) SELECT {result} FROM ({text_of(model.select)}) AS w ORDER BY w.id"
        return [_plain(value) for (value,) in postgres.execute(query.encode()).fetchall()]

    try:
        return run(tuples)
    except psycopg.Error:
        return [_error_or(lambda one=one: run([one])[0]) for one in tuples]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        assert value == value.to_integral_value()
        return int(value)
    return value


@pytest.mark.parametrize("name", EXPRESSIONS)
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(rng=st.randoms(use_true_random=True))
def test_gives_what_postgres_gives(name: str, rng: Random, postgres: psycopg.Connection[Any]) -> None:
    program, connection, sql, model = _compiled(name)
    used = [column for column in program.tables["public.v"].columns if column != "id"]
    rows = [{name: None if rng.random() < 0.1 else VALUES[name](rng) for name in used} for _ in range(60)]
    connection.execute("DELETE FROM main.v")
    markers = ", ".join("?" * (len(used) + 1))
    connection.executemany(
        f"INSERT INTO main.v VALUES ({markers})", [(at, *row.values()) for at, row in enumerate(rows)]
    )
    there = _there(postgres, model, used, rows)
    for at, row in enumerate(rows):
        here = _here(connection, sql, at)
        assert here == there[at], f"{name} of {row}: {here!r} here, {there[at]!r} in Postgres ({text_of(model.select)})"
