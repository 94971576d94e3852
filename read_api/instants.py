"""Days and microseconds since 1970 as ISO 8601 text, and back. Pure.

Exact over the whole of 32-bit days and 64-bit microseconds in the proleptic Gregorian calendar, which is Postgres's:
years outside 0000..9999 carry a sign (``+12024-01-01``, ``-0043-03-15`` is 44 BC). Postgres's ``infinity`` and
``-infinity`` travel as sentinels at the ends of both ranges and are printed as those words. Not promised: leap
seconds, week dates, or other ISO forms.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta

INFINITY = "infinity"
MINUS_INFINITY = "-infinity"

INFINITE_MICROS = (1 << 63) - 1
MINUS_INFINITE_MICROS = -(1 << 63)
INFINITE_DAYS = (1 << 31) - 1
MINUS_INFINITE_DAYS = -(1 << 31)

MICROS_PER_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1)  # naive on purpose: UTC arithmetic without a zone's cost
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_FIRST_ORDINAL, _LAST_ORDINAL = date.min.toordinal(), date.max.toordinal()
_FIRST_MICROS = (_FIRST_ORDINAL - _EPOCH_ORDINAL) * MICROS_PER_DAY
_END_MICROS = (_LAST_ORDINAL + 1 - _EPOCH_ORDINAL) * MICROS_PER_DAY

# A '+' that a form decoder took for a space, before a year or an offset, is read as the plus it was.
_DATE = r"(?P<year>[+ -]\d{4,7}|\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?"
_OFFSET = r"(?P<offset>Z|z|[+ -]\d\d(?::?\d\d)?)?"
_IS_DATE = re.compile(_DATE, re.ASCII)
_IS_TIME = re.compile(_CLOCK, re.ASCII)
_IS_TIMESTAMP = re.compile(f"{_DATE}[Tt ]{_CLOCK}{_OFFSET}", re.ASCII)


class InvalidInstantError(ValueError):
    """A text that is no date, time or timestamp, or one outside the range; the message says what was expected."""


def format_date(days: int) -> str:
    """``YYYY-MM-DD`` of a day since 1970-01-01."""
    if days >= INFINITE_DAYS:
        return INFINITY
    if days <= MINUS_INFINITE_DAYS:
        return MINUS_INFINITY
    ordinal = days + _EPOCH_ORDINAL
    if _FIRST_ORDINAL <= ordinal <= _LAST_ORDINAL:
        return date.fromordinal(ordinal).isoformat()
    year, month, day = _civil(days)
    return f"{_year(year)}-{month:02d}-{day:02d}"


def parse_date(text: str) -> int:
    """Days since 1970-01-01; raises InvalidInstantError."""
    if text == INFINITY:
        return INFINITE_DAYS
    if text == MINUS_INFINITY:
        return MINUS_INFINITE_DAYS
    match = _IS_DATE.fullmatch(text)
    if match is None:
        raise InvalidInstantError("expected a date as 2024-03-01")
    days = _day_number(match)
    if not MINUS_INFINITE_DAYS < days < INFINITE_DAYS:
        raise InvalidInstantError("the date is out of range")
    return days


def format_timestamp(micros: int) -> str:
    """``YYYY-MM-DDTHH:MM:SS.ffffff``, no offset: of a Postgres ``timestamp``."""
    if _FIRST_MICROS <= micros < _END_MICROS:
        return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    if micros >= INFINITE_MICROS:
        return INFINITY
    if micros <= MINUS_INFINITE_MICROS:
        return MINUS_INFINITY
    days, rest = divmod(micros, MICROS_PER_DAY)
    return f"{format_date(days)}T{format_time(rest)}"


def format_timestamptz(micros: int) -> str:
    """``YYYY-MM-DDTHH:MM:SS.ffffffZ``: of a Postgres ``timestamptz``, always in UTC."""
    text = format_timestamp(micros)
    return text if text in (INFINITY, MINUS_INFINITY) else text + "Z"


def format_timestamps(column: Iterable[int | None], zone: str) -> list[str | None]:
    """`format_timestamp` of each, nulls as they are; zone: what a finite one ends in, ``Z`` for `format_timestamptz`."""
    texts: list[str | None] = []
    known, beginning = 0, ""  # rows that follow each other are often of one minute
    for micros in column:
        if micros is None:
            texts.append(None)
        elif _FIRST_MICROS <= micros < _END_MICROS:
            seconds = micros // 1_000_000
            minute = seconds // 60
            if minute != known or not beginning:
                known = minute
                day, of_day = divmod(minute, 24 * 60)
                beginning = f"{format_date(day)}{_MINUTES[of_day]}"
            rest = micros - seconds * 1_000_000
            millis = rest // 1_000
            texts.append(
                f"{beginning}{_SECONDS[seconds - minute * 60]}{_THOUSAND[millis]}{_THOUSAND[rest - millis * 1_000]}{zone}"
            )
        else:
            text = format_timestamp(micros)
            texts.append(text if text in (INFINITY, MINUS_INFINITY) else text + zone)
    return texts


_MINUTES = [f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60)]
_SECONDS = [f"{second:02d}." for second in range(60)]
_THOUSAND = [f"{number:03d}" for number in range(1_000)]


def parse_timestamp(text: str) -> int:
    """Microseconds since the epoch of a text without an offset; raises InvalidInstantError."""
    micros, offset = _parse_timestamp(text, "expected a timestamp without offset as 2024-03-01T12:30:00.000001")
    if offset is not None:
        raise InvalidInstantError("the column has no time zone: leave the offset out, as 2024-03-01T12:30:00.000001")
    return micros


def parse_timestamptz(text: str) -> int:
    """Microseconds since the epoch of a text with an offset; raises InvalidInstantError."""
    micros, offset = _parse_timestamp(text, "expected a timestamp with offset as 2024-03-01T12:30:00.000001Z")
    if offset is None and text not in (INFINITY, MINUS_INFINITY):
        raise InvalidInstantError("the offset is missing: end with Z for UTC, as 2024-03-01T12:30:00.000001Z")
    if offset is None:
        return micros
    return _finite(micros - offset)


def format_time(micros: int) -> str:
    """``HH:MM:SS.ffffff`` of microseconds since midnight."""
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def parse_time(text: str) -> int:
    """Microseconds since midnight; raises InvalidInstantError."""
    match = _IS_TIME.fullmatch(text)
    if match is None:
        raise InvalidInstantError("expected a time of day as 12:30:00.000001")
    return _clock(match)


def now_micros() -> int:
    """This machine's clock, in microseconds since the epoch."""
    return time.time_ns() // 1_000


def _parse_timestamp(text: str, expected: str) -> tuple[int, int | None]:
    if text == INFINITY:
        return INFINITE_MICROS, None
    if text == MINUS_INFINITY:
        return MINUS_INFINITE_MICROS, None
    match = _IS_TIMESTAMP.fullmatch(text)
    if match is None:
        raise InvalidInstantError(expected)
    micros = _day_number(match) * MICROS_PER_DAY + _clock(match)
    offset = _offset(match["offset"])
    return micros if offset is not None else _finite(micros), offset


def _finite(micros: int) -> int:
    if not MINUS_INFINITE_MICROS < micros < INFINITE_MICROS:
        raise InvalidInstantError("the timestamp is out of range")
    return micros


def _offset(text: str | None) -> int | None:
    if text is None:
        return None
    if text in "Zz":
        return 0
    hours, minutes = int(text[1:3]), int(text[-2:]) if len(text) > 3 else 0
    if hours > 15 or minutes > 59:
        raise InvalidInstantError("the offset is out of range: expected at most 15:59")
    return (hours * 60 + minutes) * (-60_000_000 if text[0] == "-" else 60_000_000)


def _clock(match: re.Match[str]) -> int:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise InvalidInstantError("the time of day is out of range: expected 00:00:00 to 23:59:59.999999")
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int((match["fraction"] or "0").ljust(6, "0"))


def _year(year: int) -> str:
    return f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"


def _day_number(match: re.Match[str]) -> int:
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    if 1 <= month <= 12 and 1 <= day <= 31:
        number = _days(year, month, day)
        if _civil(number) == (year, month, day):  # 30 February comes back as 1 March
            return number
    raise InvalidInstantError("no such day in the calendar")


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; the year starts in March so that the leap day is its last."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def _civil(days: int) -> tuple[int, int, int]:
    """The inverse of `_days`."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1
