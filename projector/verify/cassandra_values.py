"""Cassandra's values, as the driver gives them, in replica form; and replica values as the driver takes them. Pure.

A cell that no replica value could have made (a decimal of another scale, say, that somebody else wrote) becomes
something that equals no replica value, so that it shows as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from cassandra.util import Date, Time

from projections.document_values import encode
from projections.values import Fields, Kind, ValueType
from projector.verify.postgres_values import replica_float

_MICROSECOND = 1_000  # nanoseconds


def reader(kind: ValueType) -> Callable[[Any], Any] | None:
    """What makes the replica form of a cell, None where it is that already; nulls are left out."""
    match kind.kind:
        case Kind.BOOLEAN:
            return int
        case Kind.UUID:
            return str
        case Kind.DATE:
            return lambda value: value.days_from_epoch
        case Kind.TIME:
            return lambda value: value.nanosecond_time // _MICROSECOND
        case Kind.FLOAT:
            return replica_float
        case Kind.NUMERIC if kind.scale is None:
            return lambda value: format(value, "f")
        case Kind.NUMERIC:
            return _scaled(kind.scale or 0)
        case Kind.DOCUMENT:
            return _document(kind.fields)
    return None


def parameter(value: Any, kind: ValueType) -> Any:
    """A key's replica value as a parameter of a prepared statement."""
    match kind.kind:
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.UUID:
            return UUID(value)
        case Kind.DATE:
            return Date(value)
        case Kind.TIME:
            return Time(value * _MICROSECOND)
        case Kind.NUMERIC:
            return Decimal(value).scaleb(-(kind.scale or 0))
    return value


def _scaled(scale: int) -> Callable[[Decimal], int | str]:
    def read(value: Decimal) -> int | str:
        if value.as_tuple().exponent != -scale:
            return f"{value} with another scale"
        return int(value.scaleb(scale))

    return read


def _document(fields: Fields) -> Callable[[Sequence[Any]], str]:
    readers = [reader(kind) for _, kind in fields]

    def read(rows: Sequence[Any]) -> str:
        return encode(
            [
                tuple(
                    value if value is None or convert is None else convert(value)
                    for convert, value in zip(readers, row, strict=True)
                )
                for row in rows
            ]
        )

    return read
