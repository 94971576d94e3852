"""A whole snapshot: one transaction of ``r`` records, read under the snapshot that a slot's creation exported.

Rows are streamed with COPY through the compiled encoders, never collected. Promised: the rows are exactly those of the
slot's consistent point, which is the LSN of the transaction's id; an END is written only after the last row. If
anything fails before that, readers drop the unfinished transaction.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import psycopg
from psycopg import pq, sql

from command_api import envelope
from command_api.relay.catalog import Catalog, PublishedTable
from command_api.relay.errors import SourceUnavailableError
from command_api.relay.pgoutput import Row
from command_api.relay.replication import ExportedSlot
from command_api.relay.rows import Origin, compile_relation
from command_api.relay.transactions import Emit

_NULL: Final = b"null"
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def write_snapshot(
    *,
    catalog: Catalog,
    exported: ExportedSlot,
    tables: Sequence[PublishedTable],
    origin: Origin,
    history: str,
    emit: Emit,
    on_table: Callable[[str, int], None] = lambda _table, _rows: None,
) -> int:
    """Emit the snapshot's transaction, read on `catalog`'s connection; returns its rows. Raises SourceUnavailableError."""
    lsn = exported.consistent_point
    taken_at = time.time_ns() // 1000
    identifier = b"%b:%d" % (envelope.SNAPSHOT_XID.encode(), lsn)
    source = envelope.source_part(taken_at, None, snapshot=True)
    transaction = envelope.transaction_part(identifier, taken_at // 1000)
    counts: list[tuple[bytes, int]] = []
    numbered: list[bytes] = []
    order = 0
    with under_snapshot(catalog, exported.snapshot):
        emit(envelope.transaction_key(identifier), envelope.begin(identifier, taken_at))
        for table in tables:
            relation = catalog.relation(table)
            numbers = catalog.numbers(relation)
            rows = compile_relation(relation, catalog.key(relation), catalog.types(relation), origin, numbers)
            numbered.append(rows.numbered)
            nth = 0
            for row in copy_rows(catalog, table, [column.name for column in relation.columns]):
                nth += 1
                order += 1
                emit(rows.key(row), rows.change(_NULL, rows.values(row), b"r", lsn, source, transaction, order, nth))
            counts.append((rows.table_json, nth))
            on_table(rows.table, nth)
    counts = [(table, count) for table, count in counts if count]
    end = envelope.end(identifier, order, counts, taken_at, history.encode(), numbered)
    emit(envelope.transaction_key(identifier), end)
    return order


class under_snapshot:  # noqa: N801 (reads as the statement it is)
    """A read-only transaction that sees what the exported snapshot shows."""

    def __init__(self, catalog: Catalog, snapshot: str) -> None:
        self._connection = catalog.connection
        self._snapshot = snapshot

    def __enter__(self) -> None:
        try:
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(self._snapshot))
        except psycopg.Error as error:
            raise SourceUnavailableError(f"the exported snapshot can't be used: {error}") from error

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self._connection.rollback()
        else:
            self._connection.close()  # a COPY may be under way, which nothing else ends


def copy_rows(catalog: Catalog, table: PublishedTable, columns: Sequence[str]) -> Iterator[Row]:
    """The table's rows as values in the database's output format, in no order."""
    partitioned = catalog.rows("select relkind = 'p' from pg_class where oid = to_regclass(%s)", _qualified(table))
    query = sql.SQL("COPY (SELECT {} FROM {} {} {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL("" if partitioned and partitioned[0][0] else "ONLY"),
        sql.Identifier(table.schema, table.name),
        sql.SQL("WHERE " + table.row_filter if table.row_filter else ""),  # Postgres's own text
    )
    pg = catalog.connection.pgconn
    result = pg.exec_(query.as_bytes(catalog.connection))
    if result.status != pq.ExecStatus.COPY_OUT:
        raise SourceUnavailableError(f"{table.schema}.{table.name} can't be read: {result.get_error_message()}")
    receive = pg.get_copy_data
    while True:
        try:
            size, line = receive(0)
        except psycopg.Error as error:
            raise SourceUnavailableError(f"reading {table.schema}.{table.name} failed: {error}") from error
        if size <= 0:
            break
        yield copy_values(bytes(line))
    while result_ := pg.get_result():
        if result_.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.COPY_OUT):
            raise SourceUnavailableError(f"reading {table.schema}.{table.name} failed: {result_.get_error_message()}")


def copy_values(line: bytes) -> Row:
    r"""One line of COPY's text format; ``\N`` is null."""
    fields = line[:-1].split(b"\t")
    if b"\\" not in line:
        return tuple(fields)
    return tuple(None if field == b"\\N" else _unescaped(field) for field in fields)


def _unescaped(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), field) if b"\\" in field else field


def _qualified(table: PublishedTable) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in (table.schema, table.name))
