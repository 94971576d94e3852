"""Prepared statements of a table, and the batches of their rows that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cassandra import DriverException, InvalidRequest
from cassandra.cluster import NoHostAvailable, Session
from cassandra.cqltypes import UserType
from cassandra.protocol import ErrorMessage, RequestValidationException

from projections.cassandra_table import CassandraTable
from projector.cassandra.encode import Row, RowEncoder
from projector.cassandra.errors import CassandraUnreachableError, MissingTableError


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A prepared INSERT or DELETE. `prepared` is kept so that the driver prepares it on nodes that join."""

    encoder: RowEncoder
    cql: str
    prepared: Any
    keys_only: bool

    @property
    def table(self) -> str:
        return self.encoder.table.name

    def bind(self, rows: Sequence[Row]) -> list[bytes]:
        bind = self.encoder.bind_keys if self.keys_only else self.encoder.bind
        return bind(self.prepared.query_id, rows)

    @property
    def overhead(self) -> int:
        return self.encoder.key_overhead if self.keys_only else self.encoder.row_overhead


class Request:
    """A batch that is not acknowledged yet.

    attempt: of sending it, tells late answers to earlier sendings apart. retries: sendings that failed.
    sent_at: time.monotonic() of the last sending, on `connection`. replicas: the nodes to send to first.
    """

    __slots__ = ("attempt", "connection", "entries", "replicas", "retries", "rows", "sent_at", "statement", "timestamp")

    def __init__(self, statement: Statement, rows: Sequence[Row], entries: Sequence[bytes], timestamp: int) -> None:
        self.statement = statement
        self.rows = rows
        self.entries = entries
        self.timestamp = timestamp
        self.attempt = 0
        self.retries = 0
        self.sent_at = 0.0
        self.connection: Any = None
        self.replicas: tuple[Any, ...] = ()


def prepare(session: Session, encoder: RowEncoder, cql: str, *, keys_only: bool) -> Statement:
    """Prepare a table's INSERT or DELETE; raises MissingTableError, CassandraUnreachableError."""
    table = encoder.table.qualified
    try:
        prepared = session.prepare(cql)
    except (InvalidRequest, RequestValidationException) as error:
        raise MissingTableError(
            f"{table} is missing or differs from its declaration ({error}): run `projector setup`"
        ) from error
    except (NoHostAvailable, DriverException, ErrorMessage) as error:
        raise CassandraUnreachableError(f"{table} can't be prepared: {error}") from error
    _check_documents(encoder.table, prepared)
    return Statement(encoder=encoder, cql=cql, prepared=prepared, keys_only=keys_only)


def _check_documents(table: CassandraTable, prepared: Any) -> None:
    """Raise MissingTableError when a document's type has other fields: values would be taken for those of another."""
    for column in prepared.column_metadata:
        declared = table.documents.get(column.name)
        if declared is None:
            continue
        found = _fields(column.type)
        wanted = [(name, kind.cql) for name, kind in declared.fields]
        if found != wanted:
            raise MissingTableError(
                f"{table.qualified} differs from its declaration: the rows of {column.name} are"
                f" ({', '.join(' '.join(field) for field in found or [])}) in Cassandra and"
                f" ({', '.join(' '.join(field) for field in wanted)}) in the read model: run `projector reset {table.name}`"
            )


def _fields(column_type: Any) -> list[tuple[str, str]] | None:
    """Field names and CQL types of a list of a user-defined type; None for any other type."""
    while column_type.typename in ("frozen", "list"):
        (column_type,) = column_type.subtypes
    if not issubclass(column_type, UserType):
        return None
    types = (of.cql_parameterized_type() for of in column_type.subtypes)
    return [(name, "text" if of == "varchar" else of) for name, of in zip(column_type.fieldnames, types, strict=True)]
