"""The scalar functions that SQLite lacks or does differently: Postgres's meaning over replica forms, in Python.

Every function here is pure, returns NULL for NULL, and is registered with SQLite under its own name (`register`).
Timestamps are integer microseconds since 1970-01-01 UTC and dates days since then (proleptic Gregorian, as in Postgres);
the largest and smallest 64-bit (32-bit for dates) integers are infinity. The meaning of each is the PostgreSQL manual's,
chapter 9 (Functions and Operators), under ``TimeZone=UTC``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

DAY = 86_400_000_000
TIMESTAMP_INFINITY = (1 << 63) - 1
TIMESTAMP_NEGATIVE_INFINITY = -(1 << 63)
DATE_INFINITY = (1 << 31) - 1
DATE_NEGATIVE_INFINITY = -(1 << 31)
DATE_FIRST = -2_440_588  # 4714-11-24 BC, where Postgres's dates and timestamps begin
DATE_LAST = 2_145_042_905  # 5874897-12-31
_UNIT_MICROSECONDS = {
    "microseconds": 1,
    "milliseconds": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": DAY,
}
TRUNCATIONS = (*_UNIT_MICROSECONDS, "week", "month", "quarter", "year")
FIELDS = ("year", "quarter", "month", "week", "isoyear", "day", "dow", "isodow", "doy", "hour", "minute")
TIME_FIELDS = ("hour", "minute")


class OutOfRangeError(ArithmeticError):
    """A value that has no exact result here: the select() has no answer while the row stands.

    remedy: what to do, and whether Postgres fails on the row too.
    """

    def __init__(self, message: str, remedy: str = "Postgres fails on it too: correct the row") -> None:
        super().__init__(message)
        self.remedy = remedy
        _raised.last = self


class _Raised(threading.local):
    """SQLite forgets what a function raised, so the last one of each thread is kept."""

    last: OutOfRangeError | None = None


_raised = _Raised()


def why_failed() -> OutOfRangeError | None:
    """What a function raised last in this thread; forgets it."""
    error, _raised.last = _raised.last, None
    return error


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Year (astronomical: 0 is 1 BC), month, day of a day number; H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"."""
    days += 719_468
    era, of_era = divmod(days, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def days_from_civil(year: int, month: int, day: int) -> int:
    """The inverse of `civil_from_days`."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + of_year - 719_468


def checked(bits: int, value: int | None) -> int | None:
    """The integer itself when it fits `bits`; raises OutOfRangeError as Postgres raises 22003."""
    if value is None or -(1 << bits - 1) <= value < 1 << bits - 1:
        return value
    if bits < 64:
        raise OutOfRangeError(
            f"{value} is out of range for a {bits}-bit integer",
            "Postgres fails on it too: correct the row, or compute in a wider type, as in cast(x, BigInteger)",
        )
    # A numeric is a 64-bit integer here: 18 digits always fit.
    raise OutOfRangeError(
        f"{value} (a numeric's digits without its point) is beyond 64 bits",
        "Postgres fails on a bigint too, but not on a numeric, which is exact here up to 18 digits: correct the row, "
        "cast operands to fewer digits, as in cast(x, Numeric(9, 2)), or compute the column with refresh=",
    )


def _binary(operation: Callable[[int, int], int]) -> Callable[[int, int | None, int | None], int | None]:
    def apply(bits: int, left: int | None, right: int | None) -> int | None:
        return None if left is None or right is None else checked(bits, operation(left, right))

    return apply


pg_add = _binary(lambda left, right: left + right)
pg_subtract = _binary(lambda left, right: left - right)
pg_multiply = _binary(lambda left, right: left * right)


def pg_divide(bits: int, left: int | None, right: int | None) -> int | None:
    """Integer division that truncates toward zero."""
    if left is None or right is None:
        return None
    quotient = abs(left) // abs(right)
    return checked(bits, quotient if (left < 0) == (right < 0) else -quotient)


def pg_modulo(left: int | None, right: int | None) -> int | None:
    """The remainder, with the dividend's sign."""
    if left is None or right is None:
        return None
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def pg_rescale(value: int | None, down: int) -> int | None:
    """A scaled integer with `down` fewer digits, half away from zero, as numeric rounds."""
    if value is None:
        return None
    unit: int = 10**down
    magnitude = (2 * abs(value) + unit) // (2 * unit)
    return -magnitude if value < 0 else magnitude


def pg_precision(value: int | None, precision: int) -> int | None:
    """The scaled integer when its digits fit numeric(precision, …); raises OutOfRangeError."""
    if value is not None and abs(value) >= 10**precision:
        raise OutOfRangeError(f"a numeric of {len(str(abs(value)))} digits where {precision} are declared")
    return value


def pg_numeric_text(value: int | None, scale: int) -> str | None:
    """A scaled integer as Postgres prints the numeric: always `scale` digits after the point."""
    if value is None:
        return None
    digits = str(abs(value)).rjust(scale + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def pg_average(total: int | None, count: int | None, scale: int) -> str | None:
    """avg() of exact numbers from their sum (a scaled integer) and count, with the digits that Postgres gives it.

    The digits are `select_div_scale`'s of src/backend/utils/adt/numeric.c: at least 16 significant ones, counted in
    groups of four around the point; the last one is rounded half away from zero.
    """
    if total is None or not count:
        return None
    weight, first = _first_group(abs(total), scale)
    count_weight, count_first = _first_group(count, 0)
    weight -= count_weight + (first <= count_first)
    digits = min(max(16 - 4 * weight, scale, 0), 1000)
    value = 10 ** (digits - scale) * abs(total)
    rounded = (2 * value + count) // (2 * count)
    return pg_numeric_text(-rounded if total < 0 else rounded, digits)


def _first_group(magnitude: int, scale: int) -> tuple[int, int]:
    """Place and value of the first group of four digits that is not zero; groups are counted from the point."""
    whole, fraction = divmod(magnitude, 10**scale)
    if whole:
        place = (len(str(whole)) - 1) // 4
        return place, whole // 10_000**place
    if not fraction:
        return 0, 0
    text = str(fraction).rjust(scale, "0")
    at = (len(text) - len(text.lstrip("0"))) // 4
    return -1 - at, int(text[4 * at : 4 * at + 4].ljust(4, "0"))


def pg_numeric_cast(text: str | None, precision: int, scale: int) -> int | None:
    """A numeric as text to numeric(precision, scale), a scaled integer; half away from zero."""
    if text is None:
        return None
    whole, _, fraction = text.lstrip("-").partition(".")
    value = pg_rescale(int(whole + fraction.ljust(scale, "0")), max(0, len(fraction) - scale))
    assert value is not None, "a number"
    return pg_precision(-value if text.startswith("-") else value, precision)


def pg_date_text(days: int | None) -> str | None:
    """A date as ``DateStyle=ISO`` prints it."""
    if days is None:
        return None
    if days in (DATE_INFINITY, DATE_NEGATIVE_INFINITY):
        return "infinity" if days > 0 else "-infinity"
    year, month, day = civil_from_days(days)
    return f"{year:04}-{month:02}-{day:02}" if year > 0 else f"{1 - year:04}-{month:02}-{day:02} BC"


def pg_timestamp_date(micros: int | None) -> int | None:
    """The date of a timestamp (of its UTC face)."""
    if micros is None:
        return None
    if micros == TIMESTAMP_INFINITY:
        return DATE_INFINITY
    if micros == TIMESTAMP_NEGATIVE_INFINITY:
        return DATE_NEGATIVE_INFINITY
    return micros // DAY


def pg_date_timestamp(days: int | None) -> int | None:
    """Midnight of a date."""
    if days is None:
        return None
    if days == DATE_INFINITY:
        return TIMESTAMP_INFINITY
    if days == DATE_NEGATIVE_INFINITY:
        return TIMESTAMP_NEGATIVE_INFINITY
    return days * DAY


def pg_date_plus(days: int | None, more: int | None) -> int | None:
    """A date so many days later; infinity stays."""
    if days is None or more is None:
        return None
    return days if days in (DATE_INFINITY, DATE_NEGATIVE_INFINITY) else _date(days + more)


def pg_date_minus(days: int | None, fewer: int | None) -> int | None:
    """A date so many days earlier; infinity stays."""
    return None if fewer is None else pg_date_plus(days, -fewer)


def pg_date_difference(left: int | None, right: int | None) -> int | None:
    """Days from one date to another; raises OutOfRangeError for infinite ones, as Postgres does."""
    if left is None or right is None:
        return None
    if {left, right} & {DATE_INFINITY, DATE_NEGATIVE_INFINITY}:
        raise OutOfRangeError("infinite dates can't be subtracted")
    return checked(32, left - right)


def _date(days: int) -> int:
    if DATE_FIRST <= days <= DATE_LAST:
        return days
    raise OutOfRangeError(f"day {days} is out of range for a date")


def pg_date_trunc(field: str, micros: int | None) -> int | None:
    """date_trunc of a timestamp, for a field of `TRUNCATIONS`."""
    if micros is None or micros in (TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY):
        return micros
    unit = _UNIT_MICROSECONDS.get(field)
    if unit is not None:
        return micros // unit * unit
    days = micros // DAY
    if field == "week":
        return _instant(days - (days + 3) % 7)
    year, month, _ = civil_from_days(days)
    first = {"month": month, "quarter": (month - 1) // 3 * 3 + 1, "year": 1}[field]
    return _instant(days_from_civil(year, first, 1))


def _instant(days: int) -> int:
    if days < DATE_FIRST:
        raise OutOfRangeError(f"day {days} is out of range for a timestamp")
    return days * DAY


def pg_extract(field: str, micros: int | None) -> int | None:
    """extract(field from a timestamp), for a field of `FIELDS`; infinity gives NULL, or itself for the year (refused)."""
    if micros is None:
        return None
    if micros in (TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY):
        if field in ("year", "isoyear"):
            raise OutOfRangeError(
                "the year of an infinite timestamp is infinity, which no integer holds",
                "Postgres fails on it too where the year is cast to an integer: correct the row, or leave such rows out "
                "in WHERE",
            )
        return None
    days, rest = divmod(micros, DAY)
    year, month, day = civil_from_days(days)
    match field:
        case "hour":
            return rest // 3_600_000_000
        case "minute":
            return rest // 60_000_000 % 60
        case "day":
            return day
        case "month":
            return month
        case "quarter":
            return (month + 2) // 3
        case "dow":
            return (days + 4) % 7
        case "isodow":
            return (days + 3) % 7 + 1
        case "doy":
            return days - days_from_civil(year, 1, 1) + 1
        case "year":
            return year if year > 0 else year - 1
    thursday = days - (days + 3) % 7 + 3
    iso_year = civil_from_days(thursday)[0]
    if field == "week":
        return (thursday - days_from_civil(iso_year, 1, 1)) // 7 + 1
    return iso_year if iso_year > 0 else iso_year - 1


_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "pg_checked": (2, checked),
    "pg_add": (3, pg_add),
    "pg_subtract": (3, pg_subtract),
    "pg_multiply": (3, pg_multiply),
    "pg_divide": (3, pg_divide),
    "pg_modulo": (2, pg_modulo),
    "pg_rescale": (2, pg_rescale),
    "pg_precision": (2, pg_precision),
    "pg_numeric_text": (2, pg_numeric_text),
    "pg_average": (3, pg_average),
    "pg_numeric_cast": (3, pg_numeric_cast),
    "pg_date_text": (1, pg_date_text),
    "pg_timestamp_date": (1, pg_timestamp_date),
    "pg_date_timestamp": (1, pg_date_timestamp),
    "pg_date_plus": (2, pg_date_plus),
    "pg_date_minus": (2, pg_date_minus),
    "pg_date_difference": (2, pg_date_difference),
    "pg_date_trunc": (2, pg_date_trunc),
    "pg_extract": (2, pg_extract),
}


def register(connection: sqlite3.Connection) -> None:
    """Make every function known to a connection, as deterministic."""
    for name, (arity, function) in _FUNCTIONS.items():
        connection.create_function(name, arity, function, deterministic=True)
