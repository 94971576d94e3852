"""Rows from Cassandra as JSON: what a reader gets of each kind of `projections.values`. Pure.

=====================  =====================================================================================
kind                   JSON
=====================  =====================================================================================
boolean, integer       true/false, number (64-bit integers too: a reader in JavaScript takes care)
numeric                string of plain digits, ``"12.50"``, never an exponent
float                  number; ``"NaN"``, ``"Infinity"``, ``"-Infinity"`` as strings
text, uuid             string; uuid in lower case with dashes
bytes                  string, base64
json, array            the JSON value itself
date, time             ``"2024-03-01"``, ``"12:30:00.000001"``
timestamp              ``"2024-03-01T12:30:00.000001"``
timestamptz            ``"2024-03-01T12:30:00.000001Z"``
interval               number of microseconds
document               array of objects, each field as a column of its kind
=====================  =====================================================================================

Infinite dates and timestamps are ``"infinity"`` and ``"-infinity"``; a null is null. Each is the text that
`read_api.literals` reads back as the same value. Work is done a column at a time: a page costs one call a column.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import repeat
from typing import Any
from uuid import UUID

import msgspec

from projections.values import Kind, ValueType
from read_api import instants, numerics


class RowRenderer:
    """Turns rows of one table, in the order of its columns, into values that msgspec encodes as the table above.

    same: columns that have one value in all the rows that are turned at a time, which is converted once.
    """

    def __init__(self, columns: dict[str, ValueType], same: Collection[str] = ()) -> None:
        # A struct encodes about four times faster than a dict of the same names.
        self._row = msgspec.defstruct("Row", [(name, Any) for name in columns], frozen=True, gc=False)
        self._converters = [
            (place, _of_column(kind), name in same)
            for place, (name, kind) in enumerate(columns.items())
            if kind.kind in _CONVERTERS or kind.kind is Kind.DOCUMENT
        ]

    def __call__(self, rows: Sequence[Sequence[Any]]) -> list[msgspec.Struct]:
        """One object a row."""
        if not rows:
            return []
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        for place, convert, same in self._converters:
            columns[place] = repeat(convert((rows[0][place],))[0], len(rows)) if same else convert(columns[place])
        return list(map(self._row, *columns))


def literal_text(value: Any, kind: ValueType) -> str:
    """A key's value as the text that `read_api.literals` reads back."""
    match kind.kind:
        case Kind.BOOLEAN:
            return "true" if value else "false"
        case Kind.BYTES:
            return base64.b64encode(value).decode()
    convert = _CONVERTERS.get(kind.kind)
    return str(value if convert is None else convert(value))


def _of_column(kind: ValueType) -> Callable[[Iterable[Any]], list[Any]]:
    match kind.kind:
        case Kind.TIMESTAMP:
            return lambda column: instants.format_timestamps(column, "")
        case Kind.TIMESTAMPTZ:
            return lambda column: instants.format_timestamps(column, "Z")
        case Kind.NUMERIC:
            return numerics.plain_column
        case Kind.UUID:
            return _uuids
        case Kind.DOCUMENT:  # its rows come as tuples in the order of their fields, and are rendered like a table's
            convert: Callable[[Any], Any] = RowRenderer(dict(kind.fields))
        case other:
            convert = _CONVERTERS[other]
    return lambda column: [None if value is None else convert(value) for value in column]


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _uuid(value: bytes | UUID) -> str | UUID | None:
    (shown,) = _uuids((value,))
    return shown


def _uuids(column: Iterable[bytes | UUID | None]) -> list[str | UUID | None]:
    return [
        # Groups of four digits, of which the first two are one, and the last three.
        f"{(text := value.hex('-', 2))[:4]}{text[5:29]}{text[30:34]}{text[35:]}" if isinstance(value, bytes) else value
        for value in column
    ]


def _json(value: str) -> msgspec.Raw:
    return msgspec.Raw(value.encode())


def _date(value: Any) -> str:
    return instants.format_date(value.days_from_epoch)


def _time(value: Any) -> str:
    return instants.format_time(value.nanosecond_time // 1000)


# The kinds that are absent (boolean, integer, text, bytes, interval) are encoded by msgspec as they come.
_CONVERTERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.NUMERIC: numerics.plain,
    Kind.FLOAT: _float,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
    Kind.ARRAY: _json,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: instants.format_timestamp,
    Kind.TIMESTAMPTZ: instants.format_timestamptz,
}
