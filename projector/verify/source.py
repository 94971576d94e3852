"""Postgres as verification asks it: the select() at a known point of the log, and requests put into the log.

The point is the consistent point of a temporary slot, whose exported snapshot shows exactly the commits that end at or
below it; no LSN that is asked for with a query has that property. The slot is gone as soon as the snapshot is taken
over, so it keeps no WAL; the reading transaction lives as long as the `Source.at_a_point` block.

The login needs SELECT on the source tables, and REPLICATION for the slot; `lockstep_relay` has both.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy.dialects import postgresql

from command_api.lsn import Lsn
from command_api.process.postgres_login import refusal
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from projector.verify.errors import SourceError
from projector.verify.postgres_values import SESSION, comparable, expression, literal, reader

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_FETCH_ROWS = 5_000
_SLOT_SECONDS = 60.0
_CONNECT_SECONDS = "10"

Row = tuple[Any, ...]


class Selection:
    """A read model's select() with every column in replica form, in the order of its Cassandra table.

    columns: those that are compared; a kind of array without an exact form is left out.
    """

    def __init__(self, model: ReadModel, of: Callable[[str], str] = lambda text: text) -> None:
        """of: the SQL of the rows that are meant, made of the select()'s."""
        types = {str(column.name): column.type for column in model.select.selected_columns}
        kinds = cassandra_table(model, "any").columns
        self.columns = tuple(name for name, kind in kinds.items() if comparable(kind, types[name]))
        self.left_out = tuple(name for name in types if name not in self.columns)
        self._key = [(name, kinds[name]) for name in model.key]
        converted = ", ".join(expression(f'v."{name}"', kinds[name], types[name]) for name in self.columns)
        text = str(model.select.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
        self.all = f"SELECT {converted} FROM ({of(text)}) AS v"
        self._readers = [
            (place, convert) for place, name in enumerate(self.columns) if (convert := reader(kinds[name])) is not None
        ]

    def of(self, keys: Sequence[Row]) -> str:
        """The same for the rows with these keys, and a few more: each key column is restricted by itself.

        Whichever column has an index, it serves; a list of whole keys would be planned as hundreds of alternatives.
        """
        columns = [
            f'v."{name}" IN ({", ".join(dict.fromkeys(literal(key[place], kind) for key in keys))})'
            for place, (name, kind) in enumerate(self._key)
        ]
        return f"{self.all} WHERE {' AND '.join(columns)}"

    def finish(self, rows: list[Row]) -> list[Row]:
        """Rows as they come from the server, in replica form."""
        if not self._readers:
            return rows
        finished = []
        for row in rows:
            values = list(row)
            for place, convert in self._readers:
                if values[place] is not None:
                    values[place] = convert(values[place])
            finished.append(tuple(values))
        return finished


class Snapshot:
    """A transaction that sees the database at `point`."""

    def __init__(self, connection: psycopg.Connection[Row], point: Lsn) -> None:
        self._connection = connection
        self.point = point

    def end(self) -> Lsn:
        """A position at or after every commit that anybody was told of by now. Raises SourceError."""
        return _flushed(self._connection)

    def rows(self, selection: Selection) -> Iterator[list[Row]]:
        """All rows, streamed. Raises SourceError."""
        with _translated("the select() failed"), self._connection.cursor(name="verify") as cursor:
            cursor.execute(selection.all.encode())
            while rows := cursor.fetchmany(_FETCH_ROWS):
                yield selection.finish(rows)

    def rows_of(self, selection: Selection, keys: Sequence[Row]) -> list[Row]:
        """The rows with these keys, and perhaps others. Raises SourceError."""
        with _translated("the select() failed"):
            return selection.finish(self._connection.execute(selection.of(keys).encode()).fetchall())


class Source:
    """One database; `conninfo` is a secret."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    @contextmanager
    def at_a_point(self) -> Iterator[Snapshot]:
        """A snapshot whose place in the log is known; made now, gone after the block. Raises SourceError."""
        name = f"lockstep_verify_{secrets.token_hex(6)}"
        with self._connected() as connection:
            with self._connected(replication="database") as walsender:
                point, snapshot = _temporary_slot(walsender, name)
                with _translated("the exported snapshot can't be used"):
                    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
            yield Snapshot(connection, point)

    def end(self) -> Lsn:
        """A position at or after every commit that anybody was told of. Raises SourceError."""
        with self._connected() as connection:
            return _flushed(connection)

    def emit(self, prefix: str, contents: Iterator[str]) -> tuple[int, Lsn]:
        """Put messages into the log, each a transaction; how many, and a position at or after the last one."""
        count = 0
        with self._connected() as connection, _translated("the message can't be put into the log"):
            connection.execute("SET synchronous_commit = on")
            for content in contents:
                connection.execute("SELECT pg_logical_emit_message(true, %s, %s)", (prefix, content))
                count += 1
            return count, _flushed(connection)

    @contextmanager
    def _connected(self, **parameters: str) -> Iterator[psycopg.Connection[Row]]:
        with _translated("Postgres can't be reached"):
            conninfo = make_conninfo(
                self._conninfo, application_name="projector verify", connect_timeout=_CONNECT_SECONDS, **parameters
            )
            connection = psycopg.connect(conninfo, autocommit=True)
        with connection:
            if not parameters:
                with _translated("the session can't be set up"):
                    for name, value in SESSION.items():
                        connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), value))
            yield connection


def _temporary_slot(walsender: psycopg.Connection[Row], name: str) -> tuple[Lsn, str]:
    # Making a slot waits for the transactions that are running: one that never ends must not keep us for ever.
    timer = threading.Timer(_SLOT_SECONDS, walsender.cancel)
    timer.start()
    try:
        with _translated("no temporary slot can be made"):
            made = walsender.execute(
                f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')".encode()
            ).fetchone()
    finally:
        timer.cancel()
        timer.join()
    assert made is not None
    return Lsn.parse(made[1]), str(made[2])


def _flushed(connection: psycopg.Connection[Row]) -> Lsn:
    with _translated("the log's end can't be asked for"):
        row = connection.execute("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return Lsn(row[0])


_HINTS = {
    "28": "check user and password in postgres.verifier (postgres.relay when it is not set)",
    "42501": "the login of postgres.verifier needs SELECT on the source tables and the REPLICATION attribute",
    "53400": "all replication slots are taken: raise max_replication_slots",
    "53300": "all WAL senders are taken: raise max_wal_senders",
    "57014": f"a transaction has been running for {_SLOT_SECONDS:.0f} s, see pg_stat_activity: end it, then verify again",
    "55000": "wal_level must be logical",
}


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        text = " ".join(str(error).split())
        state = error.sqlstate or ""
        hint = _HINTS.get(state) or _HINTS.get(state[:2])
        if hint is None and not state and (check := refusal(text)):
            hint = f"check {check} in postgres.verifier (postgres.relay when it is not set)"
        raise SourceError(f"{what}: {text}" + (f"; {hint}" if hint else "")) from error
