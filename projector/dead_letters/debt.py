"""The dead letters that a worker owes, in its replica: they change in the transaction that moves its position.

The table is made when it is missing, so that a replica that was built without it goes on. With a replica that is lost the
letters are taken over from their marks in Cassandra (`projector.dead_letters.parking`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable

from projector.dead_letters.letters import Id, Letter

_COLUMNS = ("model", "row", "partition", "key", "reason", "lsn", "since", "again", "standing")
_CREATE = (
    "CREATE TABLE IF NOT EXISTS main.parked (model TEXT NOT NULL, row TEXT NOT NULL, partition TEXT NOT NULL, key TEXT,"
    " reason TEXT NOT NULL, lsn INTEGER NOT NULL, since INTEGER NOT NULL, again INTEGER NOT NULL, standing INTEGER NOT NULL,"
    " PRIMARY KEY (model, row)) WITHOUT ROWID"
)
_KEEP = f"INSERT OR REPLACE INTO main.parked VALUES ({', '.join('?' * len(_COLUMNS))})"
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM main.parked"


class Debt:
    """The letters of one replica. letters: all of them, as `keep` and `drop` leave them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(_CREATE)
        self.letters: dict[Id, Letter] = {}
        self.reread()

    def reread(self) -> None:
        """Look at the table again, after a rollback."""
        found = (Letter(**dict(zip(_COLUMNS, row, strict=True))) for row in self._connection.execute(_SELECT))
        self.letters = {letter.id: letter for letter in found}

    def keep(self, letters: Iterable[Letter]) -> None:
        """Store letters, inside the caller's transaction if one is open."""
        for letter in letters:
            self._connection.execute(_KEEP, tuple(getattr(letter, name) for name in _COLUMNS))
            self.letters[letter.id] = letter

    def drop(self, letters: Iterable[Letter]) -> None:
        """Forget letters, inside the caller's transaction."""
        for letter in letters:
            self._connection.execute("DELETE FROM main.parked WHERE model = ? AND row = ?", letter.id)
            self.letters.pop(letter.id, None)

    def numbers(self) -> Counter[str]:
        """How many letters each read model has."""
        return Counter(model for model, _ in self.letters)
