"""Postgres's values in replica form, and replica values as Postgres's SQL. Pure.

Most of the conversion is SQL, so that the server does it and no driver's type comes between: `expression` makes it.
What the log writes of an array or a document is JSON that SQL can't print exactly, so `reader` finishes those here.
The session must have the settings of `SESSION`, under which a select() has one answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import types as sa

from projections.document_values import from_postgres
from projections.postgres_form import in_log_form
from projections.values import Kind, ValueType
from projector.compile.functions import (
    DATE_INFINITY,
    DATE_NEGATIVE_INFINITY,
    DAY,
    TIMESTAMP_INFINITY,
    TIMESTAMP_NEGATIVE_INFINITY,
)

SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    # A large table takes its time, and the reading transaction is idle while coverage is waited for.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_ELEMENTS = (sa.Integer, sa.String, sa.Boolean, sa.Uuid, sa.Enum, sa.Numeric)


def comparable(kind: ValueType, column_type: sa.TypeEngine[Any]) -> bool:
    """Whether a column can be brought to replica form from Postgres exactly; a few kinds of array can't."""
    if kind.kind is not Kind.ARRAY or not isinstance(column_type, sa.ARRAY):
        return True
    return isinstance(column_type.item_type, _ELEMENTS) and not isinstance(column_type.item_type, sa.Float)


def expression(column: str, kind: ValueType, column_type: sa.TypeEngine[Any]) -> str:
    """SQL that gives a column (already quoted) in replica form, or in the form that `reader` finishes.

    column_type: SQLAlchemy's, which knows an array's elements; it may not know what the SQL computes.
    """
    if (form := in_log_form(column, kind, column_type)) is not None:
        return form
    match kind.kind:
        case Kind.NUMERIC if kind.scale is not None:
            return f"trim_scale({column} * 1{'0' * kind.scale})::text"
        case Kind.BOOLEAN:
            return f"{column}::int"
        case Kind.NUMERIC | Kind.UUID | Kind.JSON | Kind.DOCUMENT:
            return f"{column}::text"
    return column


def reader(kind: ValueType) -> Callable[[Any], Any] | None:
    """What makes the replica form of `expression`'s value, None where it is that already; nulls are left out."""
    match kind.kind:
        case Kind.ARRAY:
            return lambda text: msgspec.json.encode(json.loads(text)).decode()
        case Kind.DOCUMENT:
            return lambda text: from_postgres(text, kind.fields)
        case Kind.NUMERIC if kind.scale is not None:
            return _scaled
        case Kind.FLOAT:
            return replica_float
        case Kind.BYTES:
            return bytes
    return None


def _scaled(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # NaN, infinite, or of more digits than declared: nothing that the table can hold
        return text


def replica_float(value: float) -> float | str:
    """Floats that JSON has no number for are texts."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def literal(value: Any, kind: ValueType) -> str:
    """A key's replica value as SQL; its type is that of the column beside it, so that an index serves."""
    match kind.kind:
        case Kind.INTEGER:
            return str(value)
        case Kind.BOOLEAN:
            return "true" if value else "false"
        case Kind.NUMERIC:
            return str(Decimal(value).scaleb(-(kind.scale or 0)))
        case Kind.DATE:
            infinite = {DATE_INFINITY: "infinity", DATE_NEGATIVE_INFINITY: "-infinity"}.get(value)
            return f"date '{infinite}'" if infinite else f"(date '1970-01-01' + ({value}))"
        case Kind.TIME:
            return "time '24:00'" if value == DAY else f"(time '00:00' + interval '{value} microseconds')"
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            name = "timestamp" if kind.kind is Kind.TIMESTAMP else "timestamptz"
            infinite = {TIMESTAMP_INFINITY: "infinity", TIMESTAMP_NEGATIVE_INFINITY: "-infinity"}.get(value)
            return f"{name} '{infinite}'" if infinite else f"({name} 'epoch' + interval '{value} microseconds')"
        case Kind.BYTES:
            return f"'\\x{value.hex()}'"
    text = str(value).replace("'", "''")
    return f"E'{text.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{text}'"
