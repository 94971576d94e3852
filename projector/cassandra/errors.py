"""What can go wrong between the projector and Cassandra. Driver errors are translated into these and kept as causes.

CassandraError
├── CassandraUnreachableError  no node answers, or the login or TLS handshake fails
├── MissingTableError          a table is not there, or has other columns than its declaration
├── RefusedStatementError      Cassandra refuses a statement whatever its values are (permissions)
├── RefusedRowError            Cassandra can't hold these rows; every other row was written
└── WriterStoppedError         a stop was asked for while writes waited for Cassandra
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 80


class CassandraError(Exception):
    """Base of this room's errors; the message says what happened, where, and what to do."""


class CassandraUnreachableError(CassandraError):
    """No node answers within the deadline."""


class MissingTableError(CassandraError):
    """A table or keyspace is absent, or differs from its declaration."""


class RefusedStatementError(CassandraError):
    """A statement that can't succeed with any values; a writer has forgotten what was under way."""


class WriterStoppedError(CassandraError):
    """The stop event was set while writes waited; they are not acknowledged and belong to the next start."""


@dataclass(frozen=True, kw_only=True)
class RefusedRow:
    """One row that can't be written.

    key: key column to replica value. reason: Cassandra's message, or the check that failed before sending.
    name: what the engine calls the table. row: its values, or only those of its key. timestamp: that it was to be written with.
    keyed: whether a row with this key can be in Cassandra at all.
    """

    table: str
    key: dict[str, Any]
    reason: str
    name: str = ""
    row: tuple[Any, ...] = ()
    timestamp: int = 0
    keyed: bool = True

    def __str__(self) -> str:
        key = ", ".join(f"{name}={_short(value)}" for name, value in self.key.items())
        return f"{self.table}({key}): {self.reason}"


class RefusedRowError(CassandraError):
    """Rows that Cassandra can't hold; `rows` has them all, and every other row is acknowledged."""

    def __init__(self, rows: Sequence[RefusedRow]) -> None:
        self.rows = tuple(rows)
        shown = "; ".join(str(row) for row in self.rows[:_SHOWN_ROWS])
        more = f"; and {len(self.rows) - _SHOWN_ROWS} more" if len(self.rows) > _SHOWN_ROWS else ""
        super().__init__(
            f"Cassandra can't hold {len(self.rows)} row(s): {shown}{more}."
            " Change the source value, or cast or shorten it in the read model's select()"
        )


def _short(value: Any) -> str:
    if isinstance(value, str | bytes) and len(value) > _SHOWN_CHARACTERS:
        return f"{value[:_SHOWN_CHARACTERS]!r}… ({len(value)} long)"
    return repr(value)


_KINDS = {
    "WriteTimeoutErrorMessage": "timeout",
    "WriteFailureMessage": "unavailable",
    "UnavailableErrorMessage": "unavailable",
    "OverloadedErrorMessage": "overloaded",
    "IsBootstrappingErrorMessage": "unavailable",
    "OperationTimedOut": "timeout",
    "ConnectionShutdown": "connection",
    "ConnectionException": "connection",
    "ServerError": "server_error",
}


def kind_of(error: BaseException) -> str:
    """The kind of failure that a batch met, as metrics and logs name it."""
    return _KINDS.get(type(error).__name__, "other")
