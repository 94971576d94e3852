"""From a value's text, as Postgres prints it under `SESSION`, to Debezium's default JSON encoding of it. Pure.

Each encoder takes the value's bytes and returns JSON bytes. The rules are Debezium's (PostgresValueConverter, adaptive
time precision, decimal.handling.mode=string), where `p` is the type's precision, 6 when it has none:

================================  =====================================================================================
bool                              true, false
int2, int4, int8, oid             number
float4, float8                    number, or "NaN", "Infinity", "-Infinity"
numeric, money                    string, as Postgres prints it ("NaN" too); money without sign and separators
text, varchar, bpchar, name, ...  string; also enums, json, jsonb, xml, uuid, inet, ranges, bits and every other type
bytea                             base64 string
date                              days since 1970-01-01
time(p)                           of the day: milliseconds if p <= 3, else microseconds; 24:00 is a whole day
timestamp(p)                      since 1970: milliseconds if p <= 3, else microseconds
timestamptz(p)                    ISO 8601 in UTC with exactly p digits ("2020-01-02T03:04:05.120000Z"; p = 0: none)
timetz                            ISO 8601 in UTC, digits as needed ("11:51:30.12Z")
interval                          microseconds; a month is 365.25 / 12 days
array                             list (of lists), null where an element is; elements as above
domain                            as its base type
================================  =====================================================================================

Years: BC is negative (1 BC is year 0) and beyond 9999 has a sign, as in ISO 8601 ("-0043-03-15T...", "+10000-...").
Infinity: a timestamptz is "infinity" or "-infinity"; a timestamp is ±`TIMESTAMP_INFINITY`/`TIMESTAMP_MINUS_INFINITY`
microseconds (or a thousandth, p <= 3); a date is `DATE_INFINITY` or `DATE_MINUS_INFINITY`, Debezium's own wrapped
numbers, which lie outside Postgres's dates but *below* them, so order needs a reader who knows them; an interval is the
largest or smallest 64-bit number. Unlike Debezium, whose doubles may lose a microsecond, intervals are exact, and types
without an encoding there (composite, geometric, bit) are text here instead of left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from command_api.envelope import UNAVAILABLE
from command_api.relay.errors import PgoutputError

Encoder = Callable[[bytes], bytes]

SESSION: Final = {
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "statement_timeout": "0",
}
"""The server settings that fix how values are printed; every connection whose text comes here has them."""

DATE_INFINITY: Final = -2147472692
DATE_MINUS_INFINITY: Final = -2147472691
TIMESTAMP_INFINITY: Final = 9223372036825200000
TIMESTAMP_MINUS_INFINITY: Final = -9223372036832400000
INTERVAL_INFINITY: Final = 2**63 - 1
MICROSECONDS_PER_MONTH: Final = 2_629_800_000_000  # 365.25 / 12 days

_DAY: Final = 86_400_000_000
_DATE: Final = re.compile(rb"(\d{4,7})-(\d\d)-(\d\d)( BC)?")
_TIME: Final = re.compile(rb"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
_STAMP: Final = re.compile(rb"(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(\+00)?( BC)?")
_TIMETZ: Final = re.compile(rb"(\d\d:\d\d:\d\d(?:\.\d{1,6})?)([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?")
_INTERVAL: Final = re.compile(
    rb"(?:([+-]?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?"
    rb"(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?"
)
_INTEGER: Final = re.compile(rb"-?\d+")
_FLOAT: Final = re.compile(rb"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

to_json: Final = msgspec.json.Encoder().encode


def _unreadable(kind: str, text: bytes) -> PgoutputError:
    return PgoutputError(f"{text[:60]!r} is no {kind} as Postgres prints it", hint="Report it with the column's type")


def text(value: bytes) -> bytes:
    """A JSON string; raises PgoutputError when the bytes are not UTF-8."""
    try:
        return to_json(value.decode())
    except UnicodeDecodeError as error:
        raise _unreadable("text in UTF-8", value) from error


def boolean(value: bytes) -> bytes:
    """``t`` and ``f``."""
    if value == b"t":
        return b"true"
    if value == b"f":
        return b"false"
    raise _unreadable("boolean", value)


def integer(value: bytes) -> bytes:
    """Digits, passed through."""
    if _INTEGER.fullmatch(value):
        return value
    raise _unreadable("integer", value)


def floating(value: bytes) -> bytes:
    """Shortest digits, passed through; the three others as strings."""
    if _FLOAT.fullmatch(value):
        return value
    if value in (b"NaN", b"Infinity", b"-Infinity"):
        return b'"%b"' % value
    raise _unreadable("float", value)


def money(value: bytes) -> bytes:
    """``-$1,234.50`` is "-1234.50"."""
    return text(value.replace(b"$", b"").replace(b",", b""))


def bytes_(value: bytes) -> bytes:
    r"""``\x00ff`` is base64."""
    try:
        if not value.startswith(b"\\x"):
            raise ValueError(value)
        return b'"%b"' % base64.b64encode(bytes.fromhex(value[2:].decode()))
    except ValueError as error:
        raise _unreadable("bytea", value) from error


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar (year 0 is 1 BC), of any year."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def _year(digits: bytes, bc: bytes | None) -> int:
    return 1 - int(digits) if bc else int(digits)


def date(value: bytes) -> bytes:
    """Days since 1970-01-01."""
    m = _DATE.fullmatch(value)
    if m:
        return b"%d" % _days(_year(m[1], m[4]), int(m[2]), int(m[3]))
    if value == b"infinity":
        return b"%d" % DATE_INFINITY
    if value == b"-infinity":
        return b"%d" % DATE_MINUS_INFINITY
    raise _unreadable("date", value)


def _microseconds(hours: bytes, minutes: bytes, seconds: bytes, fraction: bytes | None) -> int:
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1_000_000 + (int(fraction.ljust(6, b"0")) if fraction else 0)


def _time_of_day(value: bytes) -> int:
    m = _TIME.fullmatch(value)
    if m is None:
        raise _unreadable("time", value)
    return _microseconds(m[1], m[2], m[3], m[4])


def time_us(value: bytes) -> bytes:
    """Microseconds of the day."""
    return b"%d" % _time_of_day(value)


def time_ms(value: bytes) -> bytes:
    """Milliseconds of the day."""
    return b"%d" % (_time_of_day(value) // 1000)


def _timestamp(value: bytes) -> int:
    m = _STAMP.fullmatch(value)
    if m and not m[8]:
        return _days(_year(m[1], m[9]), int(m[2]), int(m[3])) * _DAY + _microseconds(m[4], m[5], m[6], m[7])
    if value == b"infinity":
        return TIMESTAMP_INFINITY
    if value == b"-infinity":
        return TIMESTAMP_MINUS_INFINITY
    raise _unreadable("timestamp", value)


def timestamp_us(value: bytes) -> bytes:
    """Microseconds since 1970."""
    return b"%d" % _timestamp(value)


def timestamp_ms(value: bytes) -> bytes:
    """Milliseconds since 1970."""
    return b"%d" % (_timestamp(value) // 1000)


def timestamptz(precision: int) -> Encoder:
    """ISO 8601 in UTC with exactly `precision` digits."""

    def encode(value: bytes) -> bytes:
        m = _STAMP.fullmatch(value)
        if m is None or not m[8]:
            if value in (b"infinity", b"-infinity"):
                return b'"%b"' % value
            raise _unreadable("timestamptz in UTC", value)
        year = _year(m[1], m[9])
        shown = b"%04d" % year if 0 <= year <= 9999 else b"%+05d" % year
        digits = b"." + (m[7] or b"").ljust(precision, b"0")[:precision] if precision else b""
        return b'"%b-%b-%bT%b:%b:%b%bZ"' % (shown, m[2], m[3], m[4], m[5], m[6], digits)

    return encode


def timetz(value: bytes) -> bytes:
    """ISO 8601 in UTC; wraps around midnight as the instant does."""
    m = _TIMETZ.fullmatch(value)
    if m is None:
        raise _unreadable("timetz", value)
    local = _time_of_day(m[1])
    offset = _microseconds(m[3], m[4] or b"0", m[5] or b"0", None)
    if local == _DAY and not offset:
        return b'"24:00:00Z"'
    instant = (local - (offset if m[2] == b"+" else -offset)) % _DAY
    seconds, fraction = divmod(instant, 1_000_000)
    digits = (b".%06d" % fraction).rstrip(b"0") if fraction else b""
    return b'"%02d:%02d:%02d%bZ"' % (seconds // 3600, seconds // 60 % 60, seconds % 60, digits)


def interval(value: bytes) -> bytes:
    """Microseconds."""
    m = _INTERVAL.fullmatch(value)
    if m and value:
        months = int(m[1] or 0) * 12 + int(m[2] or 0)
        time = _microseconds(m[5], m[6], m[7], m[8]) if m[5] else 0
        return b"%d" % (months * MICROSECONDS_PER_MONTH + int(m[3] or 0) * _DAY + (-time if m[4] == b"-" else time))
    if value == b"infinity":
        return b"%d" % INTERVAL_INFINITY
    if value == b"-infinity":
        return b"%d" % (-INTERVAL_INFINITY - 1)
    raise _unreadable("interval", value)


_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)


def array(element: Encoder, delimiter: bytes = b",") -> Encoder:
    """A list of what `element` makes of each element; nested as the array is. Lower bounds are not kept."""
    items = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^{}"\\%b]+)' % re.escape(delimiter), re.DOTALL)

    def encode(value: bytes) -> bytes:
        start = value.find(b"=") + 1 if value.startswith(b"[") else 0
        out: list[bytes] = []
        at, depth, end = start, 0, len(value)
        while at < end:
            letter = value[at : at + 1]
            if letter == b"{":
                depth += 1
                out.append(b"[")
                at += 1
            elif letter == b"}":
                depth -= 1
                out.append(b"]")
                at += 1
                if depth == 0:
                    break
            elif letter == delimiter:
                out.append(b",")
                at += 1
            else:
                m = items.match(value, at)
                if m is None:
                    raise _unreadable("array", value)
                if m[1] is None and m[2] == b"NULL":
                    out.append(b"null")
                else:
                    out.append(element(_ESCAPE.sub(rb"\1", m[1] if m[1] is not None else m[2])))
                at = m.end()
            if depth == 0:
                raise _unreadable("array", value)
        if depth or at != end or not out:
            raise _unreadable("array", value)
        return b"".join(out)

    return encode


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    """A column's type with domains resolved. precision: of a time or timestamp, 0..6. element: of an array."""

    name: str
    precision: int = 6
    element: ColumnType | None = None
    delimiter: str = ","


_PLAIN: Final[dict[str, Encoder]] = {
    "bool": boolean,
    "int2": integer,
    "int4": integer,
    "int8": integer,
    "oid": integer,
    "float4": floating,
    "float8": floating,
    "money": money,
    "bytea": bytes_,
    "date": date,
    "timetz": timetz,
    "interval": interval,
}


def encoder(of: ColumnType) -> Encoder:
    """The encoder of a type; a type that has none of its own is text."""
    if of.element is not None:
        return array(encoder(of.element), of.delimiter.encode())
    match of.name:
        case "time":
            return time_ms if of.precision <= 3 else time_us
        case "timestamp":
            return timestamp_ms if of.precision <= 3 else timestamp_us
        case "timestamptz":
            return timestamptz(of.precision)
        case name:
            return _PLAIN.get(name, text)


def unavailable(of: ColumnType) -> bytes:
    """What stands for a value that Postgres left out as unchanged TOAST."""
    marker = to_json(UNAVAILABLE)
    if of.element is not None:
        return b"[%b]" % marker
    return b'"%b"' % base64.b64encode(UNAVAILABLE.encode()) if of.name == "bytea" else marker
