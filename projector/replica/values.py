"""The log's JSON values to replica form, one generated decoder a table.

`RowDecoder` reads the columns that the replica keeps and ignores all others, so a column that nobody reads may come and
go. A column that is read and missing, a value of another type, or a NULL in a primary key raises ValueFormatError with
table and column named. Formats are the envelope's (`command_api.envelope`); replica forms are `projections.values`'.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from command_api.envelope import UNAVAILABLE
from projections.values import Kind, ValueType
from projector.compile.functions import DAY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY, days_from_civil
from projector.compile.program import ReplicaTable

Row = tuple[Any, ...]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_ISO = re.compile(r"([+-]?\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
_UNAVAILABLE_BYTES = base64.b64encode(UNAVAILABLE.encode()).decode()
_UNAVAILABLE_FORMS = (UNAVAILABLE, _UNAVAILABLE_BYTES, [UNAVAILABLE])


class Unchanged:
    """The value of a column that Postgres left out of an update because it did not change (TOAST)."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Unchanged()


class ValueFormatError(ValueError):
    """A value in the log that has no replica form; the message names table and column."""


def timestamptz_micros(text: str) -> int:
    """Microseconds since the epoch of ISO 8601 text in UTC, years outside 1..9999 and infinity included."""
    try:
        return (dt.datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):
        if text in ("infinity", "-infinity"):
            return TIMESTAMP_INFINITY if text == "infinity" else TIMESTAMP_NEGATIVE_INFINITY
        match = _ISO.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no ISO 8601 timestamp in UTC") from None
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
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


def _uuid(text: str) -> str:
    return text if len(text) == 36 and text.islower() else str(uuid.UUID(text))


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def _micros_from_millis(value: int) -> int:
    return value if value in (TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY) else value * 1_000


def _float(value: float | str) -> float | str:
    return value if isinstance(value, str) else float(value)


def _array(value: list[Any]) -> str:
    return msgspec.json.encode(value).decode()


def _reader(kind: ValueType) -> tuple[Any, Callable[[Any], Any] | None]:
    """The JSON type of a kind, and the conversion when its replica form is another."""
    match kind.kind:
        case Kind.BOOLEAN:
            return bool, int
        case Kind.INTEGER | Kind.DATE | Kind.INTERVAL:
            return int, None
        case Kind.NUMERIC:
            return str, None if kind.scale is None else scaled_integer(kind.scale)
        case Kind.FLOAT:
            return float | str, _float
        case Kind.TEXT | Kind.JSON:
            return str, None
        case Kind.UUID:
            return str, _uuid
        case Kind.BYTES:
            return str, _bytes
        case Kind.TIME | Kind.TIMESTAMP:
            return int, _micros_from_millis if kind.precision is not None and kind.precision <= 3 else None
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
        self.table = table
        names = list(table.columns)
        readers = [_reader(kind) for kind in table.columns.values()]
        struct = _struct(table.name, names, [json_type for json_type, _ in readers])
        decode = msgspec.json.Decoder(struct).decode
        key_decode = msgspec.json.Decoder(
            _struct(table.name, list(table.key), [t for t, _ in readers[: len(table.key)]])
        ).decode
        converters = [converter for _, converter in readers]
        toastable = [kind.kind in _TOASTABLE for kind in table.columns.values()]
        self.row = self._guarded(decode, _converter(names, converters, [False] * len(names)), names)
        self.updated = self._guarded(decode, _converter(names, converters, toastable), names)
        width = len(table.key)
        self.key = self._guarded(
            key_decode, _converter(names[:width], converters[:width], [False] * width), names[:width]
        )

    def _guarded(
        self, decode: Callable[[Any], Any], convert: Callable[[Any], Row], names: list[str]
    ) -> Callable[[msgspec.Raw], Row]:
        width, table = len(self.table.key), self.table

        def read(raw: msgspec.Raw) -> Row:
            try:
                row = convert(decode(raw))
            except (msgspec.DecodeError, ValueError, OverflowError, TypeError, AttributeError) as error:
                raise ValueFormatError(f"{table.name}: {error}") from error
            if msgspec.UNSET in row or None in row[:width]:
                for name, value in zip(names, row, strict=True):
                    if value is msgspec.UNSET:
                        raise ValueFormatError(
                            f"{table.name}.{name}: the log's record has no such column; a read model reads it: restore it or change the read model"
                        )
                    if value is None and name in table.key:
                        raise ValueFormatError(f"{table.name}.{name}: NULL in a primary key")
            return row

        return read


def _struct(table: str, names: list[str], types: list[Any]) -> type[msgspec.Struct]:
    fields = [(f"f{i}", json_type | None | msgspec.UnsetType, msgspec.UNSET) for i, json_type in enumerate(types)]
    return msgspec.defstruct("Row", fields, rename={f"f{i}": name for i, name in enumerate(names)}, gc=False)


def _converter(
    names: list[str], converters: list[Callable[[Any], Any] | None], toastable: list[bool]
) -> Callable[[Any], Row]:
    """``lambda s: (s.f0, convert(s.f1) …)``: straight-line code, one expression a column."""
    scope: dict[str, Any] = {"UNSET": msgspec.UNSET, "UNCHANGED": UNCHANGED, "unavailable": _UNAVAILABLE_FORMS}
    parts = []
    for i, (converter, may_be_left_out) in enumerate(zip(converters, toastable, strict=True)):
        value = f"s.f{i}"
        part = value
        if converter is not None:
            scope[f"c{i}"] = _named(names[i], converter)
            part = f"({value} if {value} is None or {value} is UNSET else c{i}({value}))"
        if may_be_left_out:
            part = f"(UNCHANGED if {value} in unavailable else {part})"
        parts.append(part)
    source = f"lambda s: ({', '.join(parts)},)"
    return eval(source, scope)  # type: ignore[no-any-return]  # noqa: S307 (its text is made of indices only)


def _named(name: str, converter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The conversion itself: when it fails, the error names the column. Kept bare on the fast path."""
    if converter is int:
        return converter

    def convert(value: Any) -> Any:
        try:
            return converter(value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"column {name}: {error}") from error

    return convert
