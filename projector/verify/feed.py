"""What of a feed's select() has to be among its copies, as far as readers are told: flags, marks and the cap.

Promised: a copy that is missing, wrong or left over is found, and nothing else is called different:

- Entries of an author with a flag have no copies. The flag's own time is unknown (it has no cell to ask), so a copy that
  is there all the same is no evidence by itself: it is left open, and counts when looks under later points see it too.
- A reader with a mark is answered from Postgres: of their copies nothing is asked but that there is such an entry.
- Below the newest `cap` of a reader a copy may be missing; one that is there must be right.

Flags and marks are read after the read model covered the point. What comes or goes between the point and that reading
was written past the point, and such rows give no evidence either (`projector.verify.judge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from projections.cassandra_table import CassandraTable
from projections.feed_tables import hot_authors_table, skipped_readers_table
from projections.read_model import ReadModel
from projections.values import Kind
from projector.verify.cassandra_values import reader
from projector.verify.judge import Finding, Look
from projector.verify.postgres_values import literal
from projector.verify.source import Selection
from projector.verify.table import translated

_PAGE_ROWS = 5_000

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What readers are told at a moment, in replica form. hot: authors with a flag. marked: readers with a mark."""

    hot: frozenset[Any]
    marked: frozenset[Any]


class Feed:
    """What verification knows of one feed."""

    def __init__(self, session: Session, model: ReadModel, keyspace: str, stored: str = "") -> None:
        """stored: the name in Cassandra of the generation's table."""
        assert model.fan_out is not None, "a feed"
        self._session = session
        self._model = model
        self._hot, self._marks = (
            hot_authors_table(model, keyspace, stored),
            skipped_readers_table(model, keyspace, stored),
        )
        self._cap = model.fan_out.cap
        self._author = model.fan_out.author
        columns = Selection(model).columns
        self._place = columns.index(self._author) - len(model.key)  # in a row without its key

    def told(self) -> Told:
        """What readers are told now. Raises TableError."""
        return Told(hot=self._column(self._hot, "author"), marked=self._column(self._marks, "reader"))

    def copies(self, told: Told) -> Selection:
        """Every entry that may have a copy."""
        return Selection(self._model, lambda text: self._of_others(text, told))

    def newest(self, told: Told) -> Selection:
        """Those that must have one, of readers without a mark."""
        if self._cap is None:
            return self.copies(told)
        kinds = self._model.columns
        order = ", ".join(
            f'w."{at.column}"'
            + (' COLLATE "C"' if kinds[at.column].kind is Kind.TEXT else "")
            + (" DESC" if at.descending else "")
            for at in self._model.clustering
        )
        (partition,) = self._model.partition_key
        rank = f'row_number() OVER (PARTITION BY w."{partition}" ORDER BY {order}) AS "(rank)"'
        return Selection(
            self._model,
            lambda text: (
                f"SELECT * FROM (SELECT w.*, {rank} FROM ({self._of_others(text, told)}) AS w) AS r"
                f' WHERE r."(rank)" <= {self._cap}'
            ),
        )

    def unmarked(self, rows: Iterable[tuple[int, Row]], told: Told) -> Iterator[tuple[int, Row]]:
        """Buckets, or tokens, and rows of either side that are compared as they are."""
        return (pair for pair in rows if pair[1][0] not in told.marked)

    def top(self) -> Top:
        """What takes the newest copies of each reader out of pages of the table."""
        return Top(self._cap)

    def finding(self, key: Row, look: Look, finding: Finding, told: Told, *, must: bool | None) -> Finding:
        """What a look says, beyond what its rows do. must: whether a copy has to be there, None when that is not known."""
        if look.found is None:
            return Finding.EQUAL if must is False or key[0] in told.marked else finding
        if look.expected is not None and key[0] in told.marked:
            return Finding.EQUAL
        flagged = look.found[self._place] in told.hot
        if finding is Finding.WRONG and look.expected is None and (must is None or flagged):
            return Finding.OPEN
        return finding

    def _of_others(self, text: str, told: Told) -> str:
        """SQL of entries whose author has no flag."""
        if not told.hot:
            return text
        kind = self._model.columns[self._author]
        among = ", ".join(literal(author, kind) for author in sorted(told.hot))
        return f'SELECT * FROM ({text}) AS u WHERE u."{self._author}" NOT IN ({among})'

    def _column(self, table: CassandraTable, name: str) -> frozenset[Any]:
        query = SimpleStatement(
            f'SELECT "{name}" FROM {table.qualified}',
            fetch_size=_PAGE_ROWS,
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        )
        convert = reader(table.columns[name])
        with translated(table):
            values = [row[0] for row in self._session.execute(query)]
        return frozenset(values if convert is None else map(convert, values))


class Top:
    """The first `cap` rows of each partition, of pages that hold a partition's rows one after the other."""

    def __init__(self, cap: int | None) -> None:
        self._cap = cap
        self._open: dict[Any, int] = {}  # rows so far of partitions that ended a page: the next one may go on

    def of(self, page: Iterable[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
        """Tokens and rows of a page that are among them."""
        if self._cap is None:
            yield from page
            return
        partition, count = None, 0
        for token, row in page:
            if row[0] != partition:
                partition, count = row[0], self._open.pop(row[0], 0)
            count += 1
            if count <= self._cap:
                yield token, row
        if partition is not None:
            self._open[partition] = count
