"""The log's JSON values to replica form, one generated decoder a table.

`RowDecoder` reads the columns that the replica keeps and ignores all others, so a column that nobody reads may come and
go. A column that is read and missing, a value of another type, or a NULL in a primary key raises ValueFormatError with
table and column named. Formats are the envelope's (`command_api.envelope`); replica forms are `projections.values`'.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import msgspec

from command_api.envelope import UNAVAILABLE, Record
from projections.values import Kind, ValueType
from projector.compile.functions import (
    DATE_INFINITY,
    DATE_NEGATIVE_INFINITY,
    DAY,
    TIMESTAMP_INFINITY,
    TIMESTAMP_NEGATIVE_INFINITY,
    days_from_civil,
)
from projector.compile.program import ReplicaTable

Row = tuple[Any, ...]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ISO = re.compile(r"([+-]?\d{4,6})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
# The log's numbers for infinite values (Debezium's), which order with no finite one, to the replica's, which do.
_INFINITE_DAYS = {-2147472692: DATE_INFINITY, -2147472691: DATE_NEGATIVE_INFINITY}
_INFINITE_MICROS = {
    9223372036825200000: TIMESTAMP_INFINITY,
    -9223372036832400000: TIMESTAMP_NEGATIVE_INFINITY,
}
_INFINITE_MILLIS = {number // 1_000: infinity for number, infinity in _INFINITE_MICROS.items()}
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
_UNAVAILABLE_BYTES = base64.b64encode(UNAVAILABLE.encode()).decode()
_UNAVAILABLE_FORMS = (
    UNAVAILABLE,
    _UNAVAILABLE_BYTES,
    [UNAVAILABLE],
    # Arrays of a stock connector: of bytea, of integers, of uuids.
    [_UNAVAILABLE_BYTES],
    list(UNAVAILABLE.encode()),
    [str(uuid.UUID(bytes=hashlib.md5(UNAVAILABLE.encode(), usedforsecurity=False).digest(), version=3))],
)


class Unchanged:
    """The value of a column that Postgres left out of an update because it did not change (TOAST)."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Unchanged()


class ValueFormatError(ValueError):
    """A value in the log that has no replica form; the message names table and column.

    change, offset: the change that it is of, and where that stands in the log, where they are known.
    """

    change: Record | None = None
    offset: int | None = None


class ReplacedColumnError(ValueFormatError):
    """A column that is not the one of this name before: rows have other values, without a record of it."""


class MissingColumnError(ValueFormatError):
    """A record without a column that a read model reads: dropped or renamed in Postgres, or added after the record."""


def timestamptz_micros(text: str) -> int:
    """Microseconds since the epoch of ISO 8601 text in UTC, years outside 1..9999 and infinity included."""
    try:
        since = dt.datetime.fromisoformat(text) - _EPOCH
        return since.days * DAY + since.seconds * 1_000_000 + since.microseconds
    except (ValueError, TypeError):
        if text in ("infinity", "-infinity"):
            return TIMESTAMP_INFINITY if text == "infinity" else TIMESTAMP_NEGATIVE_INFINITY
        match = _ISO.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no ISO 8601 timestamp in UTC") from None
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        if 1 <= year <= 9999 or not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
            raise ValueError(f"{text!r} is no ISO 8601 timestamp in UTC") from None
        micros = int((match[7] or "0").ljust(6, "0")[:6])
        clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
        return days_from_civil(year, month, day) * DAY + clock


def scaled_integer(scale: int) -> Callable[[str], int]:
    """A reader of numeric text as an integer times 10**-scale; raises ValueError for NaN, infinity and more digits."""

    def read(text: str) -> int:
        whole, point, fraction = text.partition(".")
        if len(fraction) == scale and (point or not scale):
            try:
                return int(whole + fraction)
            except ValueError:
                pass
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{text!r} is no number") from None
        if not value.is_finite():
            raise ValueError(
                f"{text} can't be maintained in a numeric with a scale: delete or correct the row in Postgres"
            )
        scaled = value.scaleb(scale)
        if scaled != scaled.to_integral_value():
            raise ValueError(f"{text} has more than the {scale} digits after the point that the metadata declares")
        return int(scaled)

    return read


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def _days(value: int) -> int:
    return _INFINITE_DAYS.get(value, value)


def _micros(value: int) -> int:
    return _INFINITE_MICROS.get(value, value)


def _micros_from_millis(value: int) -> int:
    infinity = _INFINITE_MILLIS.get(value)
    return value * 1_000 if infinity is None else infinity


def _float(value: float | str) -> float | str:
    if isinstance(value, str) and value not in _NO_NUMBERS:
        raise ValueError(f"{value[:40]!r} is no number")
    return value if isinstance(value, str) else float(value)


def _array(value: list[Any]) -> str:
    return msgspec.json.encode(value).decode()


def _integer(bits: int) -> Any:
    """A JSON number that fits; a longer one would only fail in SQLite, without a name."""
    return Annotated[int, msgspec.Meta(ge=-(1 << bits - 1), le=(1 << bits - 1) - 1)]


def _reader(kind: ValueType) -> tuple[Any, Callable[[Any], Any] | None]:
    """The JSON type of a kind, and the conversion when its replica form is another."""
    match kind.kind:
        case Kind.BOOLEAN:
            return bool, int
        case Kind.INTEGER:
            return _integer(kind.bits), None
        case Kind.INTERVAL:
            return _integer(64), None
        case Kind.DATE:
            return _integer(32), _days
        case Kind.NUMERIC:
            return str, None if kind.scale is None else scaled_integer(kind.scale)
        case Kind.FLOAT:
            return float | str, _float
        case Kind.TEXT | Kind.JSON:
            return str, None
        case Kind.UUID:
            return Annotated[str, msgspec.Meta(min_length=36, max_length=36)], None
        case Kind.BYTES:
            return str, _bytes
        case Kind.TIME:
            return _integer(64), _micros_from_millis if kind.precision is not None and kind.precision <= 3 else None
        case Kind.TIMESTAMP:
            return _integer(64), _micros_from_millis if kind.precision is not None and kind.precision <= 3 else _micros
        case Kind.TIMESTAMPTZ:
            return str, timestamptz_micros
        case Kind.ARRAY:
            return list[Any], _array
    raise AssertionError(kind)


_TOASTABLE = (Kind.TEXT, Kind.NUMERIC, Kind.BYTES, Kind.JSON, Kind.ARRAY)


class RowDecoder:
    """Decoders of one table's images.

    row: an after image of an insert or a snapshot: every column has its value.
    updated: an after image of an update: a column may be `UNCHANGED`.
    key: the primary key in a before image.
    """

    def __init__(self, table: ReplicaTable) -> None:
        self._table = table.name
        columns = [
            _Field(name, *_reader(kind), nullable=name not in table.key, toastable=kind.kind in _TOASTABLE)
            for name, kind in table.columns.items()
        ]
        self.row = self._reader(columns, updated=False)
        self.updated = self._reader(columns, updated=True)
        self.key = self._reader(columns[: len(table.key)], updated=False)

    def _reader(self, fields: list[_Field], *, updated: bool) -> Callable[[msgspec.Raw], Row]:
        decode, convert = msgspec.json.Decoder(_struct(fields)).decode, _converter(fields, updated)

        def read(raw: msgspec.Raw) -> Row:
            try:
                return convert(decode(raw))
            except (msgspec.DecodeError, ValueError, OverflowError, TypeError, AttributeError) as error:
                kind = MissingColumnError if "missing required field" in str(error) else ValueFormatError
                raise kind(f"{self._table}{_blame(fields, raw, updated)}: {error}") from error

        return read


@dataclass(frozen=True)
class _Field:
    """A column as it is decoded: its JSON type, and the conversion when its replica form is another."""

    name: str
    json_type: Any
    convert: Callable[[Any], Any] | None
    nullable: bool
    toastable: bool


def _struct(fields: list[_Field]) -> type[msgspec.Struct]:
    """A struct whose fields are all required: what is missing or of another type is msgspec's error, by JSON path."""
    types = [(f"f{i}", f.json_type | None if f.nullable else f.json_type) for i, f in enumerate(fields)]
    return msgspec.defstruct("Row", types, rename={f"f{i}": f.name for i, f in enumerate(fields)}, gc=False)


def _converter(fields: list[_Field], updated: bool) -> Callable[[Any], Row]:
    """``lambda s: (s.f0, None if s.f1 is None else c1(s.f1) …)``: straight-line code, one expression a column."""
    scope: dict[str, Any] = {"UNCHANGED": UNCHANGED, "unavailable": _UNAVAILABLE_FORMS}
    parts = []
    for i, field in enumerate(fields):
        part = value = f"s.f{i}"
        if field.convert is not None:
            scope[f"c{i}"] = field.convert
            part = f"(None if {value} is None else c{i}({value}))"
        if updated and field.toastable:
            part = f"(UNCHANGED if {value} in unavailable else {part})"
        parts.append(part)
    return eval(f"lambda s: ({', '.join(parts)},)", scope)  # type: ignore[no-any-return]  # noqa: S307 (made of indices only)


def _blame(fields: list[_Field], raw: msgspec.Raw, updated: bool) -> str:
    """``.column`` of the first column that can't be read by itself; empty when the image as a whole can't."""
    for field in fields:
        try:
            _converter([field], updated)(msgspec.json.decode(raw, type=_struct([field])))
        except msgspec.ValidationError as error:
            if "Expected `object`" in str(error) and "at `$." not in str(error):
                return ""
            return f".{field.name} (a read model reads it)"
        except msgspec.DecodeError:
            return ""
        except (ValueError, OverflowError, TypeError, AttributeError):
            return f".{field.name}"
    return ""
