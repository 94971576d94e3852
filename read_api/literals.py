"""Text from a URL as the value that Cassandra compares with: one reader a kind of `projections.values`. Pure.

A text is read exactly or refused with LiteralError, whose message says what is expected: no rounding, no guessing of
time zones. Values are what cassandra-driver binds to the kind's CQL type. Numerics take the column's scale, because
Cassandra tells 12.5 from 12.50 in a partition key.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from cassandra.util import Date, Time

from projections.values import Kind, ValueType
from read_api import instants

MAX_BYTES = 65_535  # of a key column in Cassandra

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,1000}(\.\d{1,1000})?", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,4})?|NaN|[+-]?Infinity", re.ASCII)


class LiteralError(ValueError):
    """A text that is no value of the kind; the message is a clause that says what is expected."""


def read_literal(kind: ValueType, text: str) -> Any:
    """The CQL value that `text` stands for; raises LiteralError."""
    if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
        raise LiteralError(f"expected at most {MAX_BYTES} bytes")
    try:
        return _READERS[kind.kind](kind, text)
    except instants.InvalidInstantError as error:
        raise LiteralError(str(error)) from error


def _boolean(_kind: ValueType, text: str) -> bool:
    if text not in ("true", "false"):
        raise LiteralError("expected true or false")
    return text == "true"


def _integer(kind: ValueType, text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise LiteralError("expected a whole number")
    return _within(int(text), kind.bits or 64)


def _within(number: int, bits: int) -> int:
    limit = 1 << (bits - 1)
    if not -limit <= number < limit:
        raise LiteralError(f"expected a whole number from {-limit} to {limit - 1}")
    return number


def _numeric(kind: ValueType, text: str) -> Decimal:
    if _DECIMAL.fullmatch(text) is None:
        raise LiteralError("expected a decimal number as 12.50")
    exact = Decimal(text)
    if kind.scale is None:
        return exact
    sign, digits, exponent = exact.as_tuple()
    missing = kind.scale + int(exponent)
    if missing < 0 and any(digits[missing:]):
        raise LiteralError(f"expected at most {kind.scale} digits after the point")
    digits = digits + (0,) * missing if missing >= 0 else digits[:missing]
    # Built digit by digit: arithmetic would round to the context's precision.
    return Decimal((sign if any(digits) else 0, digits or (0,), -kind.scale))


def _float(_kind: ValueType, text: str) -> float:
    if _FLOAT.fullmatch(text) is None:
        raise LiteralError("expected a number, NaN, Infinity or -Infinity")
    return float(text)


def _text(_kind: ValueType, text: str) -> str:
    if "\0" in text:
        raise LiteralError("expected text without NUL: Postgres holds none")
    return text


def _uuid(_kind: ValueType, text: str) -> UUID:
    if _UUID.fullmatch(text) is None:
        raise LiteralError("expected a uuid as 01890a5d-ac96-774b-bcce-b302099a8057")
    return UUID(text)


def _bytes(_kind: ValueType, text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/").replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise LiteralError("expected base64 with its padding, standard or URL-safe") from error


def _date(_kind: ValueType, text: str) -> Date:
    return Date(instants.parse_date(text))


def _time(_kind: ValueType, text: str) -> Time:
    return Time(instants.parse_time(text) * 1000)


def _timestamp(_kind: ValueType, text: str) -> int:
    return instants.parse_timestamp(text)


def _timestamptz(_kind: ValueType, text: str) -> int:
    return instants.parse_timestamptz(text)


def _document(_kind: ValueType, _text: str) -> Any:
    raise LiteralError("expected another column: no query compares documents")


_READERS: dict[Kind, Callable[[ValueType, str], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.NUMERIC: _numeric,
    Kind.FLOAT: _float,
    Kind.TEXT: _text,
    Kind.UUID: _uuid,
    Kind.BYTES: _bytes,
    Kind.JSON: _text,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMPTZ: _timestamptz,
    Kind.INTERVAL: _integer,
    Kind.ARRAY: _text,
    Kind.DOCUMENT: _document,
}
