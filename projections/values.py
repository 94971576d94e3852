"""What a column's values are at each stop of their way, derived from the column's SQLAlchemy type.

Promised to the compile, the writer and the readers alike: one `ValueType` a column, and for each kind one exact,
comparable *replica form* and one CQL type that holds every such value without loss. Types without an exact form are
refused by name. Nothing here converts a value; the converters of each room follow this table.

================  ==========================  =====================================  =====================
kind              Postgres, in the log        replica form (SQLite)                  CQL
================  ==========================  =====================================  =====================
boolean           true / false                INTEGER 0 or 1                         boolean
integer           number                      INTEGER                                smallint, int, bigint
numeric(p<=18,s)  string "12.50"              INTEGER, value * 10**s                 decimal (scale s)
numeric, other    string                      TEXT, opaque                           decimal
float             number, "NaN", "Infinity"   REAL, opaque; NaN as TEXT 'NaN'        double
text, enum        string                      TEXT                                   text
uuid              string                      TEXT, lower case with dashes           uuid
bytes             base64 string               BLOB                                   blob
json              string                      TEXT, opaque                           text
date              days since 1970-01-01       INTEGER days                           date
time              microseconds of the day     INTEGER microseconds                   time
timestamp         microseconds, see envelope  INTEGER microseconds since the epoch   bigint
timestamptz       ISO 8601 text in UTC        INTEGER microseconds since the epoch   bigint
interval          microseconds                INTEGER, opaque                        bigint
array             JSON array                  TEXT of the JSON, opaque               text
document          not a column's type         TEXT, opaque: see document_values      list of a UDT, frozen
================  ==========================  =====================================  =====================

Timestamps are bigint microseconds in Cassandra because its own timestamp holds milliseconds: the tables are equal to
their SQL to the last digit, and order by the same instant. Readers get ISO 8601 text back (`read_api.rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import types as sa
from sqlalchemy.dialects import postgresql as pg


class Kind(StrEnum):
    """The kinds of the table above."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMERIC = "numeric"
    FLOAT = "float"
    TEXT = "text"
    UUID = "uuid"
    BYTES = "bytes"
    JSON = "json"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    ARRAY = "array"
    DOCUMENT = "document"


DOCUMENT_FIELDS = frozenset(
    {
        Kind.BOOLEAN,
        Kind.INTEGER,
        Kind.NUMERIC,
        Kind.TEXT,
        Kind.UUID,
        Kind.DATE,
        Kind.TIME,
        Kind.TIMESTAMP,
        Kind.TIMESTAMPTZ,
    }
)
"""The kinds that a field of a document may be of."""


class UnsupportedTypeError(TypeError):
    """A column type that has no exact form in the replica or in Cassandra."""


@dataclass(frozen=True, kw_only=True)
class ValueType:
    """The type of a column's values.

    bits: 16, 32 or 64 for an integer, else 0.
    precision: of a numeric (None: unconstrained), or fractional digits of a time or timestamp (None: 6).
    scale: digits after the point of a numeric with a scaled-integer replica form; None when it is opaque text.
    collation: the collation that a text column or expression declares, None for the database's default.
    fixed_width_text: char(n), whose comparisons ignore trailing spaces.
    fields: name and type of each field of a document, in their order; empty for every other kind.
    """

    kind: Kind
    bits: int = 0
    precision: int | None = None
    scale: int | None = None
    collation: str | None = None
    fixed_width_text: bool = False
    fields: Fields = ()

    @property
    def opaque(self) -> bool:
        """True when values can be passed through but neither compared nor computed with."""
        return self.kind in (Kind.FLOAT, Kind.JSON, Kind.ARRAY, Kind.INTERVAL, Kind.DOCUMENT) or (
            self.kind is Kind.NUMERIC and self.scale is None
        )

    @property
    def cql(self) -> str:
        """The CQL type of the table above; that of a document also has a name, its table's (`CassandraTable.cql`)."""
        return {16: "smallint", 32: "int", 64: "bigint"}[self.bits] if self.kind is Kind.INTEGER else _CQL[self.kind]

    @property
    def sqlite(self) -> str:
        """The SQLite type of the replica's column, with no affinity that could convert a value."""
        return _SQLITE[self.kind] if not (self.kind is Kind.NUMERIC and self.scale is None) else "TEXT"


Fields = tuple[tuple[str, ValueType], ...]
"""Name and type of each field of a document."""

_CQL = {
    Kind.BOOLEAN: "boolean",
    Kind.NUMERIC: "decimal",
    Kind.FLOAT: "double",
    Kind.TEXT: "text",
    Kind.UUID: "uuid",
    Kind.BYTES: "blob",
    Kind.JSON: "text",
    Kind.DATE: "date",
    Kind.TIME: "time",
    Kind.TIMESTAMP: "bigint",
    Kind.TIMESTAMPTZ: "bigint",
    Kind.INTERVAL: "bigint",
    Kind.ARRAY: "text",
    Kind.DOCUMENT: "frozen<list>",
}
_SQLITE = dict.fromkeys(Kind, "INTEGER") | {
    Kind.FLOAT: "BLOB",
    Kind.TEXT: "TEXT",
    Kind.UUID: "TEXT",
    Kind.BYTES: "BLOB",
    Kind.JSON: "TEXT",
    Kind.ARRAY: "TEXT",
    Kind.DOCUMENT: "TEXT",
}
_EXACT_DIGITS = 18  # the scaled integers that fit 64 bits


class DocumentType(sa.TypeEngine[Any]):
    """The SQLAlchemy type of a document: json in Postgres, with the names and types of its fields."""

    __visit_name__ = "JSON"

    def __init__(self, fields: Fields) -> None:
        self.fields = fields


def value_type(column_type: sa.TypeEngine[Any]) -> ValueType:
    """The `ValueType` of a SQLAlchemy type; raises UnsupportedTypeError naming the type."""
    match column_type:
        case DocumentType():
            return ValueType(kind=Kind.DOCUMENT, fields=column_type.fields)
        case sa.Interval() | pg.INTERVAL():  # first: SQLAlchemy's own is a decorator of a timestamp
            return ValueType(kind=Kind.INTERVAL)
        case sa.TypeDecorator():
            return value_type(column_type.impl_instance)
        case sa.Boolean():
            return ValueType(kind=Kind.BOOLEAN)
        case sa.SmallInteger():
            return ValueType(kind=Kind.INTEGER, bits=16)
        case sa.BigInteger():
            return ValueType(kind=Kind.INTEGER, bits=64)
        case sa.Integer():
            return ValueType(kind=Kind.INTEGER, bits=32)
        case sa.Float():
            return ValueType(kind=Kind.FLOAT)
        case sa.Numeric():
            precision, scale = column_type.precision, column_type.scale or 0
            exact = precision is not None and precision <= _EXACT_DIGITS
            return ValueType(kind=Kind.NUMERIC, precision=precision, scale=scale if exact else None)
        case sa.Enum():
            return ValueType(kind=Kind.TEXT, collation="enum")
        case sa.Uuid():
            return ValueType(kind=Kind.UUID)
        case pg.JSON() | sa.JSON():
            return ValueType(kind=Kind.JSON)
        case sa.CHAR():
            return ValueType(kind=Kind.TEXT, collation=column_type.collation, fixed_width_text=True)
        case sa.String():
            return ValueType(kind=Kind.TEXT, collation=column_type.collation)
        case sa.LargeBinary():
            return ValueType(kind=Kind.BYTES)
        case sa.DateTime():
            kind = Kind.TIMESTAMPTZ if column_type.timezone else Kind.TIMESTAMP
            return ValueType(kind=kind, precision=getattr(column_type, "precision", None))
        case sa.Date():
            return ValueType(kind=Kind.DATE)
        case sa.Time() if not column_type.timezone:
            return ValueType(kind=Kind.TIME, precision=getattr(column_type, "precision", None))
        case sa.ARRAY():
            return ValueType(kind=Kind.ARRAY)
    raise UnsupportedTypeError(f"{column_type!r} has no exact form in a read model: cast it to text in the select()")
