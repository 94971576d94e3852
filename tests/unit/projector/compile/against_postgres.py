"""The catalogue's examples run over the same random rows by Postgres and by a replica.

Values are random within and at the edges of each type. The compiled SQL runs over a replica, the same expression in
Postgres in one query for many rows; a row that fails there must fail here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy
from sqlalchemy import Boolean, select, type_coerce
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType

from projections.read_model import ReadModel
from projections.values import Kind, ValueType, value_type
from projector.compile.catalogue import SAMPLE
from projector.compile.functions import (
    DATE_INFINITY,
    DATE_NEGATIVE_INFINITY,
    TIMESTAMP_INFINITY,
    TIMESTAMP_NEGATIVE_INFINITY,
)
from projector.compile.program import Program, compile_models
from projector.replica.schema import open_replica
from tests.oracle.postgres import in_replica_form, text_of

c = SAMPLE.c
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
NAMES: dict[str, Any] = {
    **vars(sqlalchemy),
    "c": c, "Decimal": Decimal, "UUID": UUID, "JSONB": JSONB,
    "UTC": UTC, "date": date, "datetime": datetime, "time": time,
}  # fmt: skip

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


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.choice((0, 1, (1 << 128) - 1, 1 << 127, rng.getrandbits(128)))))


def _bytes(rng: Random) -> bytes:
    return rng.choice((b"", b"a", b"\0", b"a\0", b"\xff", rng.randbytes(3)))


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
    "uuid": _uuid,
    "raw": _bytes,
    "free": lambda rng: rng.choice(("0", "1.50", "-3", "NaN", "1" + "0" * 40, "12345678901234567890.123")),
    "f": lambda rng: rng.choice((0.0, 0.1, -1e300, rng.random())),
    "short": lambda rng: _text(rng)[:5],
    "code": lambda rng: _text(rng)[:4].ljust(4),
    "mood": lambda rng: rng.choice(("sad", "ok", "happy")),
    "doc": lambda rng: rng.choice(('{"a": 1}', "[]", '"é"', "null")),
    "tags": lambda rng: rng.choice(("[]", "[1]", "[1,-2,3]")),
    "span": lambda rng: rng.randint(-(10**14), 10**14),
}
VALUES |= {f"{name}2": VALUES[name] for name in ("day", "stamp", "tz", "clock", "uuid", "raw")}


def _literal(kind: ValueType, sql_type: str, value: Any) -> str:
    """A value in replica form as Postgres's."""
    if value is None:
        return f"NULL::{sql_type}"
    match kind.kind:
        case Kind.NUMERIC if kind.scale is None:
            return f"'{value}'::{sql_type}"
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
        case Kind.BYTES:
            return f"'\\x{value.hex()}'::bytea"
        case Kind.ARRAY:
            return f"'{{{value[1:-1]}}}'::{sql_type}"
        case Kind.INTERVAL:
            return f"interval '{value} microseconds'"
    return f"'{value}'::{sql_type}"


def written(text: str) -> ColumnElement[Any]:
    """An example of the catalogue, evaluated."""
    expression: ColumnElement[Any] = eval(text, NAMES)
    return expression


def example(text: str) -> ColumnElement[Any]:
    """The SQLAlchemy expression that an example of the catalogue writes."""
    expression = written(text)
    # BETWEEN has no type of its own in SQLAlchemy.
    return type_coerce(expression, Boolean) if isinstance(expression.type, NullType) else expression


@cache
def _compiled(text: str) -> tuple[Program, sqlite3.Connection, str, ReadModel]:
    model = ReadModel(name="m", select=select(c.id, example(text).label("r")), partition_key=("id",))
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
    result = _result("w.r", model.columns["r"])

    def run(chosen: list[str]) -> list[Any]:
        query = f"WITH v({names}) AS (VALUES {', '.join(chosen)}) SELECT {result} FROM ({text_of(model.select)}) AS w ORDER BY w.id"
        return [_plain(value) for (value,) in postgres.execute(query.encode()).fetchall()]

    try:
        return run(tuples)
    except psycopg.Error:
        return [_error_or(lambda one=one: run([one])[0]) for one in tuples]


def there(
    postgres: psycopg.Connection[Any], program: Program, model: ReadModel, rows: dict[int, dict[str, Any]]
) -> dict[int, Any]:
    """Column r of the model by its id, over rows of the sample by theirs, in replica form."""
    used = [name for name in program.tables["public.v"].columns if name != "id"]
    types = {name: (value_type(c[name].type), c[name].type.compile(dialect=DIALECT)) for name in used}
    tuples = [
        f"({at}" + "".join(f", {_literal(*types[name], row[name])}" for name in used) + ")" for at, row in rows.items()
    ]
    result = _result("w.r", model.columns["r"])
    query = (
        f"WITH v({', '.join(['id', *used])}) AS (VALUES {', '.join(tuples)}) SELECT w.id, {result}"
        f" FROM ({text_of(model.select)}) AS w"
    )
    return {at: _plain(value) for at, value in postgres.execute(query.encode()).fetchall()}


def _result(column: str, kind: ValueType) -> str:
    """As `in_replica_form`, also for what a read model only passes through."""
    match kind.kind:
        case Kind.ARRAY:
            return f"array_to_json({column})::text"
        case Kind.INTERVAL:
            return f"(extract(epoch from {column}) * 1000000)::bigint"
    return in_replica_form(column, kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        assert value == value.to_integral_value()
        return int(value)
    return value


def differences(text: str, rng: Random, postgres: psycopg.Connection[Any], count: int = 60) -> list[str]:
    """What an example gives here and in Postgres over random rows, where the two differ."""
    program, connection, sql, model = _compiled(text)
    used = [column for column in program.tables["public.v"].columns if column != "id"]
    rows = [{name: None if rng.random() < 0.1 else VALUES[name](rng) for name in used} for _ in range(count)]
    connection.execute("DELETE FROM main.v")
    markers = ", ".join("?" * (len(used) + 1))
    connection.executemany(
        f"INSERT INTO main.v VALUES ({markers})", [(at, *row.values()) for at, row in enumerate(rows)]
    )
    there = _there(postgres, model, used, rows)
    return [
        f"{text} of {row}: {_here(connection, sql, at)!r} here, {there[at]!r} in Postgres ({text_of(model.select)})"
        for at, row in enumerate(rows)
        if _here(connection, sql, at) != there[at]
    ]
