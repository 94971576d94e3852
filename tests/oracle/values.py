"""Values of generated rows: how Postgres reads each, and how the log carries it.

Both sides are written down here by hand, from `command_api.envelope` and Postgres's manual, and not made by the code
under test, so that a wrong conversion can't agree with itself.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

DATE_INFINITY, DATE_MINUS_INFINITY = -2147472692, -2147472691  # Debezium's wrapped numbers
TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY = 9223372036825200000, -9223372036832400000


@dataclass(frozen=True)
class Value:
    """postgres: the literal's text, None for NULL. log: the JSON value in the log's envelope."""

    postgres: str | None
    log: Any

    @property
    def literal(self) -> str:
        """A quoted SQL literal, which takes its column's type."""
        return "NULL" if self.postgres is None else "'" + self.postgres.replace("'", "''") + "'"


NULL = Value(None, None)


def of(value: Any) -> Value:
    """The Value of a Python value: int, bool, str, Decimal, bytes, date, aware datetime (microseconds), or None."""
    match value:
        case None:
            return NULL
        case bool():
            return Value("true" if value else "false", value)
        case int():
            return Value(str(value), value)
        case str():
            return Value(value, value)
        case Decimal():
            return Value(format(value, "f"), format(value, "f"))
        case bytes():
            return Value("\\x" + value.hex(), base64.b64encode(value).decode())
        case dt.datetime() if value.tzinfo is not None:
            face = value.astimezone(dt.UTC).replace(tzinfo=None)
            return Value(f"{face} UTC", face.isoformat(timespec="microseconds") + "Z")
        case dt.datetime():
            return Value(str(value), (value - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1))
        case dt.date():
            return Value(value.isoformat(), (value - dt.date(1970, 1, 1)).days)
    raise TypeError(type(value))


def timestamptz(postgres: str, log: str) -> Value:
    """A timestamptz that Python can't hold, for example '0044-03-15 12:00:00+00 BC' and '-0043-03-15T12:00:00.000000Z'."""
    return Value(postgres, log)
