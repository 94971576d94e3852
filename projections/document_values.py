"""The replica form of a document: one exact text for a list of child rows, wherever it comes from.

It is the JSON of a list of lists, an inner list a row with its fields' values in the declared order, each in the replica
form of its kind (`projections.values`): numbers for timestamps, dates, times, numerics with a scale and booleans (0, 1),
strings for text, uuids and opaque numerics, null. Compact and with no escapes but JSON's own, so that it is, byte for
byte, what SQLite's ``json_group_array(json_array(…))`` prints, and two documents are equal when their texts are.

`from_postgres` makes it of what PostgreSQL prints for the declared SQL, exactly: no number passes through a float.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from decimal import Context, Decimal
from functools import cache
from typing import Any

import msgspec

from projections.values import Fields, Kind, ValueType

_INFINITE_DAYS = {"infinity": (1 << 31) - 1, "-infinity": -(1 << 31)}
_INFINITE_MICROS = {"infinity": (1 << 63) - 1, "-infinity": -(1 << 63)}
_DATE = r"(\d{4,7})-(\d\d)-(\d\d)"
_CLOCK = r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
_IS_DATE = re.compile(f"{_DATE}( BC)?", re.ASCII)
_IS_TIME = re.compile(_CLOCK, re.ASCII)
_IS_TIMESTAMP = re.compile(rf"{_DATE}T{_CLOCK}(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?", re.ASCII)
_DAY_MICROSECONDS = 86_400_000_000
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097  # of the Gregorian calendar
_EXACT = Context(prec=1_000)


class DocumentFormatError(ValueError):
    """A document's text that is not of its fields; the message names the field, or says what was expected."""


def encode(rows: list[tuple[Any, ...]]) -> str:
    """Rows of replica values as a document's replica form."""
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False)


def decode(text: str, fields: Fields) -> list[tuple[Any, ...]]:
    """A document's rows of replica values; raises DocumentFormatError when a value is not of its field's JSON type."""
    try:
        return _decoder(fields)(text)
    except (msgspec.DecodeError, TypeError, AttributeError) as error:
        raise DocumentFormatError(f"no document of ({', '.join(name for name, _ in fields)}): {error}") from error


def from_postgres(text: str, fields: Fields) -> str:
    """The replica form of what Postgres prints, as text, for a column of `projections.documents.Embedded`.

    Raises DocumentFormatError.
    """
    # A number's own digits: a float would round them, and int() stops at 4,300.
    found = json.loads(text, parse_float=str, parse_int=str)
    rows = []
    for value in found:
        if list(value) != [name for name, _ in fields]:
            raise DocumentFormatError(f"fields {', '.join(value)} where {', '.join(n for n, _ in fields)} are declared")
        rows.append(tuple(_replica_value(name, kind, value[name]) for name, kind in fields))
    return encode(rows)


@cache
def _decoder(fields: Fields) -> Callable[[str], list[tuple[Any, ...]]]:
    kinds = [str if kind.sqlite == "TEXT" else int for _, kind in fields]
    row: Any = tuple.__class_getitem__(tuple(kind | None for kind in kinds))
    decoder: msgspec.json.Decoder[list[tuple[Any, ...]]] = msgspec.json.Decoder(list[row])
    return decoder.decode


def _replica_value(name: str, kind: ValueType, value: Any) -> Any:
    if value is None:
        return None
    try:
        return _READERS[kind.kind](value, kind)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise DocumentFormatError(f"field {name}: {value!r} is no {kind.kind} as Postgres prints it") from error


def _numeric(text: str, kind: ValueType) -> int | str:
    if kind.scale is None:
        return text
    scaled = Decimal(text).scaleb(kind.scale, _EXACT)
    if scaled != scaled.to_integral_value():
        raise ValueError(text)
    return int(scaled)


def _days(text: str, _kind: ValueType) -> int:
    infinite = _INFINITE_DAYS.get(text)
    return _days_since_epoch(*_match(_IS_DATE, text).groups()) if infinite is None else infinite


def _time(text: str, _kind: ValueType) -> int:
    return _clock(*_match(_IS_TIME, text).groups())


def _micros(text: str, _kind: ValueType) -> int:
    if (infinite := _INFINITE_MICROS.get(text)) is not None:
        return infinite
    year, month, day, hour, minute, second, fraction, sign, *offset, bc = _match(_IS_TIMESTAMP, text).groups()
    hours, minutes, seconds = (int(part or 0) for part in offset)
    ahead = (hours * 60 + minutes) * 60 + seconds
    local = _days_since_epoch(year, month, day, bc) * _DAY_MICROSECONDS + _clock(hour, minute, second, fraction)
    return local - (-ahead if sign == "-" else ahead) * 1_000_000


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return match


def _clock(hour: str, minute: str, second: str, fraction: str | None) -> int:
    return ((int(hour) * 60 + int(minute)) * 60 + int(second)) * 1_000_000 + int((fraction or "0").ljust(6, "0"))


def _days_since_epoch(year: str, month: str, day: str, bc: str | None) -> int:
    astronomical = 1 - int(year) if bc else int(year)  # the year before 1 AD is 1 BC
    cycles, of_cycle = divmod(astronomical - 2_000, _CYCLE_YEARS)
    within = dt.date(2_000 + of_cycle, int(month), int(day)) - dt.date(1970, 1, 1)
    return within.days + cycles * _CYCLE_DAYS


def _boolean(value: Any, _kind: ValueType) -> int:
    return {True: 1, False: 0}[value]


def _text(value: Any, _kind: ValueType) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value


_READERS: dict[Kind, Callable[[Any, ValueType], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: lambda text, _kind: int(text),
    Kind.NUMERIC: _numeric,
    Kind.TEXT: _text,
    Kind.UUID: _text,
    Kind.DATE: _days,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _micros,
    Kind.TIMESTAMPTZ: _micros,
}
