"""Postgres's values in the form in which Cassandra's driver gives the same ones, and such values as SQL. Pure.

Both sources of a reply end in one `read_api.rendering`, so that a reader gets the same JSON from either. Most of the
conversion is SQL (`selected`), because no driver's type holds every date; `finisher` does what is left. Order is
Cassandra's: text by its bytes whatever the collation, uuids by version before anything else (`ordered`).

A session must have `TimeZone=UTC`, under which a select() has one answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import msgspec
from cassandra.util import Date, Time
from sqlalchemy import types as sa

from projections.document_values import decode, from_postgres
from projections.postgres_form import in_log_form
from projections.values import Fields, Kind, ValueType
from read_api.instants import INFINITE_DAYS, INFINITE_MICROS, MICROS_PER_DAY, MINUS_INFINITE_DAYS, MINUS_INFINITE_MICROS

_EXACT = Context(prec=1_000)
# Cassandra's order of uuids: the version, of time-based ones (version 1) their time, then the bytes.
_UUID = (
    "(substr({0}::text, 15, 1) || CASE substr({0}::text, 15, 1) WHEN '1' THEN"
    " substr({0}::text, 15, 4) || substr({0}::text, 10, 4) || substr({0}::text, 1, 8) ELSE '' END || {0}::text)"
)

# What Postgres can hold, from 4714 BC to the year 5874897 in dates; a URL may ask beyond. Of its timestamps the last
# 30 years do not fit into 64 bits, here as in the log.
_FINITE_DAYS = (-2_440_588, 2_145_042_905)
_FINITE_MICROS = (-2_440_588 * MICROS_PER_DAY, INFINITE_MICROS - 1)
_ENDS = {
    Kind.DATE: (_FINITE_DAYS, (MINUS_INFINITE_DAYS, INFINITE_DAYS)),
    Kind.TIMESTAMP: (_FINITE_MICROS, (MINUS_INFINITE_MICROS, INFINITE_MICROS)),
    Kind.TIMESTAMPTZ: (_FINITE_MICROS, (MINUS_INFINITE_MICROS, INFINITE_MICROS)),
}


def selected(column: str, kind: ValueType, column_type: sa.TypeEngine[Any]) -> str:
    """SQL of a column (already quoted) in the form that `finisher` takes.

    column_type: SQLAlchemy's, which knows an array's elements; it may not know what the SQL computes.
    """
    if (form := in_log_form(column, kind, column_type)) is not None:
        return form
    match kind.kind:
        case Kind.NUMERIC if kind.scale is not None:
            return f"round({column}::numeric, {kind.scale})"  # 0 is 0.00 where the column says so
        case Kind.NUMERIC:
            return f"{column}::numeric"
        case Kind.JSON | Kind.DOCUMENT:
            return f"{column}::text"
    return column


def finisher(kind: ValueType) -> Callable[[Any], Any] | None:
    """What makes the driver's form of a value of `selected`, None where it is that already; nulls are left out."""
    match kind.kind:
        case Kind.DATE:
            return _date
        case Kind.TIME:
            return _time
        case Kind.BYTES:
            return bytes
        case Kind.ARRAY:
            return lambda text: msgspec.json.encode(json.loads(text)).decode()
        case Kind.DOCUMENT:
            return lambda text: _document(text, kind.fields)
    return None


def _date(days: int) -> Date:
    return Date(days)


def _time(micros: int) -> Time:
    return Time(micros * 1000)


def _document(text: str, fields: Fields) -> list[tuple[Any, ...]]:
    rows = decode(from_postgres(text, fields), fields)
    kinds = [kind for _, kind in fields]
    return [
        tuple(None if value is None else _field(value, kind) for value, kind in zip(row, kinds, strict=True))
        for row in rows
    ]


def _field(value: Any, kind: ValueType) -> Any:
    match kind.kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.NUMERIC:
            return Decimal(value) if kind.scale is None else Decimal(value).scaleb(-kind.scale, _EXACT)
        case Kind.DATE:
            return Date(value)
        case Kind.TIME:
            return _time(value)
        case Kind.UUID:
            return UUID(value)
    return value


def literal(value: Any, kind: ValueType) -> tuple[str, Any]:
    """A key's value as SQL with one marker, and what the marker takes; of the column's own type, so that an index serves."""
    match kind.kind:
        case Kind.DATE:
            days = value.days_from_epoch
            infinite = {INFINITE_DAYS: "infinity", MINUS_INFINITE_DAYS: "-infinity"}.get(days)
            return ("%s::date", infinite) if infinite else ("(date '1970-01-01' + %s::int)", days)
        case Kind.TIME:
            return "(time '00:00' + %s::interval)", f"{value.nanosecond_time // 1000} microseconds"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            name = "timestamp" if kind.kind is Kind.TIMESTAMP else "timestamptz"
            infinite = {INFINITE_MICROS: "infinity", MINUS_INFINITE_MICROS: "-infinity"}.get(value)
            return (
                (f"%s::{name}", infinite) if infinite else (f"({name} 'epoch' + %s::interval)", f"{value} microseconds")
            )
    return "%s", value


def holdable(value: Any, kind: ValueType) -> bool:
    """Whether a column of Postgres can hold this value; of dates and timestamps a URL can name more."""
    return kind.kind not in _ENDS or _nearest(_number(value), kind) is None


def equality(column: str, kind: ValueType, value: Any) -> tuple[str, list[Any]]:
    """A condition and its parameters."""
    if not holdable(value, kind):
        return "false", []
    text, parameter = literal(value, kind)
    return f"{column}{'::text' if kind.collation == 'enum' else ''} = {text}", [parameter]


def ordered(column: str, kind: ValueType) -> str:
    """SQL that sorts, and compares with `comparison`, as Cassandra does."""
    match kind.kind:
        case Kind.TEXT:
            return f'{column}::text COLLATE "C"'
        case Kind.UUID:
            return f'{_UUID.format(column)} COLLATE "C"'
    return column


def comparison(column: str, kind: ValueType, operator: str, value: Any) -> tuple[str, list[Any]]:
    """A condition ``column operator value`` in Cassandra's order, and its parameters."""
    if kind.kind in _ENDS and (end := _nearest(_number(value), kind)) is not None:
        # Beyond what Postgres holds there is infinity only: on its side of the value, all else is on the other.
        above = end > 0
        operator = (">=" if above else ">") if operator in (">", ">=") else ("<" if above else "<=")
        value = Date(end) if kind.kind is Kind.DATE else end
    if kind.kind is Kind.UUID:
        return f"{ordered(column, kind)} {operator} %s", [uuid_order(value)]
    text, parameter = literal(value, kind)
    return f"{ordered(column, kind)} {operator} {text}", [parameter]


def uuid_order(value: bytes | UUID) -> str:
    """A uuid as the text that `ordered` makes of it."""
    text = str(UUID(bytes=value) if isinstance(value, bytes) else value)
    time = text[14:18] + text[9:13] + text[:8] if text[14] == "1" else ""
    return text[14] + time + text


def _number(value: Any) -> int:
    number: int = value.days_from_epoch if isinstance(value, Date) else value
    return number


def _nearest(number: int, kind: ValueType) -> int | None:
    """The infinity beyond which a finite value lies; None for what Postgres holds."""
    (first, last), (below, above) = _ENDS[kind.kind]
    if number in (below, above) or first <= number <= last:
        return None
    return below if number < first else above
