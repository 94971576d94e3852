"""Which of Postgres's columns a replica's values are of: by their numbers in its catalog, which END records carry.

A column that is dropped and added again under its name, or that takes another one's name, has another number and other
values in every row, and no record says so. Promised: the first transaction that shows another number for a column that is
read is refused, with the column named, unless it is a snapshot, which has every row's value. Not promised: anything
about values that `ALTER … TYPE … USING` computes, since the column keeps its number; nor where END records have no
numbers (a stock Debezium's).
"""

from __future__ import annotations

import sqlite3

import msgspec

from projector.apply.transaction import Transaction
from projector.compile.program import Program
from projector.replica.values import ReplacedColumnError, ValueFormatError

_CREATE = (
    "CREATE TABLE IF NOT EXISTS main.numbered (of_table TEXT, name TEXT, number INTEGER NOT NULL, PRIMARY KEY (of_table, name))"
    " WITHOUT ROWID"
)
_PUT = "INSERT OR REPLACE INTO main.numbered VALUES (?, ?, ?)"
_MOST = 10_000  # of the combinations of tables that are known to agree

_decode = msgspec.json.Decoder(dict[str, dict[str, int]]).decode


class Numbered:
    """The numbers of one replica's columns. They change in the transaction that moves its position."""

    def __init__(self, connection: sqlite3.Connection, program: Program) -> None:
        self._connection = connection
        self._read = {table.name: tuple(table.columns) for table in program.tables.values()}
        connection.execute(_CREATE)
        self.reread()

    def reread(self) -> None:
        """Look at what is stored, after a rollback."""
        rows = self._connection.execute("SELECT of_table, name, number FROM main.numbered")
        self._known = {(table, name): number for table, name, number in rows}
        self._agreeing: set[bytes] = set()

    def look(self, transaction: Transaction) -> None:
        """Learn the numbers that a transaction shows. Raises ReplacedColumnError when one is another than before."""
        if not transaction.columns or transaction.columns in self._agreeing:
            return
        try:
            found = _decode(transaction.columns)
        except msgspec.DecodeError as error:
            raise _of_first_change(
                ValueFormatError(f"the columns of its END can't be read: {error}"), transaction
            ) from error
        new = [
            (table, name, number)
            for table, numbers in found.items()
            for name in self._read.get(table, ())
            if (number := numbers.get(name)) is not None and number != self._known.get((table, name))
        ]
        for table, name, number in new:
            known = self._known.get((table, name))
            if known is not None and not transaction.snapshot:
                raise _replaced(transaction, table, name, known, number)
        if new:
            self._connection.executemany(_PUT, new)
            self._known.update({(table, name): number for table, name, number in new})
        if new or len(self._agreeing) >= _MOST:
            self._agreeing.clear()  # what agreed with the numbers before
        self._agreeing.add(transaction.columns)


def _replaced(transaction: Transaction, table: str, name: str, known: int, number: int) -> ValueFormatError:
    error = ReplacedColumnError(
        f"{table}.{name}: this is another column than the one of this name before (number {number} in Postgres's catalog, it was"
        f" {known})"
    )
    return _of_first_change(error, transaction)


def _of_first_change(error: ValueFormatError, transaction: Transaction) -> ValueFormatError:
    error.change = next((change for change in transaction.changes if change.transaction is not None), None)
    return error
