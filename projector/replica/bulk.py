"""One SQL statement for many rows, so that SQLite is entered once per `ROWS` rows instead of once a row.

Each entry gives up and takes back Python's global lock; with the driver's thread at work beside it, that cost more than
the rows themselves (0.069 against 0.146 CPU seconds per 100,000 rows of five columns into a temporary table).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

ROWS = 64  # of 20 and 100 rows, the first was slower and the second no faster


class Bulk:
    """A statement with ``{rows}`` where a list of parenthesized rows of `width` markers, then `constants`, goes."""

    def __init__(
        self, connection: sqlite3.Connection, template: str, width: int, constants: tuple[int, ...] = ()
    ) -> None:
        row = f"({', '.join([*('?' * width), *map(str, constants)])})"
        self._connection = connection
        self._many = template.format(rows=", ".join([row] * ROWS))
        self._one = template.format(rows=row)

    def run(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run it for rows; the number of rows that it changed."""
        execute = self._connection.execute
        whole = len(rows) // ROWS * ROWS
        changed = 0
        for first in range(0, whole, ROWS):
            changed += execute(self._many, tuple(chain.from_iterable(rows[first : first + ROWS]))).rowcount
        if whole < len(rows):
            changed += self._connection.executemany(self._one, rows[whole:]).rowcount
        return changed

    def finds(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Run it, a query, for rows: whether it finds anything."""
        execute = self._connection.execute
        whole = len(rows) // ROWS * ROWS
        return any(
            execute(self._many, tuple(chain.from_iterable(rows[first : first + ROWS]))).fetchone() is not None
            for first in range(0, whole, ROWS)
        ) or any(execute(self._one, row).fetchone() is not None for row in rows[whole:])
