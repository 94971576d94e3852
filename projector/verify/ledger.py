"""The keys that are looked at closely, with both sides' rows, in a temporary SQLite file: memory stays small.

A key enters when its bucket's checksums differ or its last look was open, and leaves when its rows turn out equal. What
stays is wrong, or still open. Keys and rows are tuples of replica values. `same` counts how often in a row a key has
looked exactly alike.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from projector.verify.judge import Finding, Look

Key = tuple[Any, ...]
Row = tuple[Any, ...]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Ledger:
    """The looks of one read model's keys; a context manager, gone when it closes."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # an unnamed file: on disk as far as it outgrows the cache
        self._db.execute("PRAGMA cache_size=-16384")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE looks (key BLOB PRIMARY KEY, expected BLOB, found BLOB, written INTEGER, finding TEXT,"
            " same INTEGER) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def expect(self, rows: Iterable[tuple[Key, Row]]) -> None:
        """Rows of Postgres, before Cassandra's are there."""
        self._db.executemany(
            "INSERT OR REPLACE INTO looks VALUES (?, ?, NULL, NULL, 'open', 1)",
            ((_pack(key), _pack(row)) for key, row in rows),
        )

    def expected(self, keys: Sequence[Key]) -> dict[Key, Row]:
        """What Postgres has for these keys, as far as it is here."""
        found: dict[Key, Row] = {}
        for key in keys:
            row = self._db.execute("SELECT expected FROM looks WHERE key = ?", (_pack(key),)).fetchone()
            if row is not None and row[0] is not None:
                found[key] = tuple(_unpack(row[0]))
        return found

    def record(self, looks: Iterable[tuple[Key, Look, Finding]]) -> None:
        """The outcome of looks; equal keys leave."""
        for key, look, finding in looks:
            packed = _pack(key)
            if finding is Finding.EQUAL:
                self._db.execute("DELETE FROM looks WHERE key = ?", (packed,))
                continue
            expected = None if look.expected is None else _pack(look.expected)
            found = None if look.found is None else _pack(look.found)
            self._db.execute(
                "INSERT INTO looks VALUES (?1, ?2, ?3, ?4, ?5, 1) ON CONFLICT (key) DO UPDATE SET expected = ?2, found = ?3,"
                " written = ?4, finding = ?5,"
                " same = CASE WHEN expected IS ?2 AND found IS ?3 AND written IS ?4 THEN same + 1 ELSE 1 END",
                (packed, expected, found, look.written, str(finding)),
            )

    def count(self, finding: Finding) -> int:
        """How many keys have this finding."""
        return int(self._db.execute("SELECT count(*) FROM looks WHERE finding = ?", (str(finding),)).fetchone()[0])

    def keys(self, *findings: Finding, chunk: int) -> Iterator[list[Key]]:
        """Keys of these findings in order, in chunks; looks may be recorded meanwhile."""
        for looks in self._pages(findings, chunk):
            yield [key for key, _ in looks]

    def looks(self, *findings: Finding) -> Iterator[tuple[Key, Look]]:
        """Keys and their last look, in order."""
        for page in self._pages(findings, 500):
            yield from page

    def drop(self, keys: Iterable[Key]) -> int:
        """Forget keys, whatever was found of them; how many were here."""
        return sum(self._db.execute("DELETE FROM looks WHERE key = ?", (_pack(key),)).rowcount for key in keys)

    def reopen(self) -> None:
        """Forget every finding, so that all keys are looked at again."""
        self._db.execute("UPDATE looks SET finding = 'open', same = 0")

    def settle(self, looks: int) -> int:
        """What was open and looked exactly alike so often is wrong; the rest leaves. Returns how many left."""
        self._db.execute("UPDATE looks SET finding = 'wrong' WHERE finding = 'open' AND same >= ?", (looks,))
        return self._db.execute("DELETE FROM looks WHERE finding = 'open'").rowcount

    def _pages(self, findings: Sequence[Finding], chunk: int) -> Iterator[list[tuple[Key, Look]]]:
        among = ", ".join(f"'{finding}'" for finding in findings)
        after = b""
        while True:
            rows = self._db.execute(
                f"SELECT key, expected, found, written FROM looks WHERE key > ? AND finding IN ({among}) ORDER BY key LIMIT ?",
                (after, chunk),
            ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield [
                (tuple(_unpack(key)), Look(expected=_row(expected), found=_row(found), written=written))
                for key, expected, found, written in rows
            ]


def _row(packed: bytes | None) -> Row | None:
    return None if packed is None else tuple(_unpack(packed))
