"""One read model against its SQL: the whole table by checksums, then the rows of what differs, then again what is open.

    a point P of the log       the select() there into checksums; and the table, once the model covers P
    what differs               both sides' rows of those buckets, the first from the same snapshot
    what is open               looked at again under later points, the keys alone, until each is judged

Promised: a row is called different only with evidence (`projector.verify.judge`). The one exception are keys that give
none: a row that Postgres has and Cassandra lacks, or one without a cell to ask for its timestamp. They count as
different when `LOOKS` looks in a row, each under a later snapshot, saw exactly the same on both sides. A key that is
deleted and made again all the time, with the same values, and happens to be absent from Cassandra just after, each time
anew, would be taken for a missing row.
Memory: `checksum`'s 4 MiB, a page of rows of each side, and the ledger's cache.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from command_api.lsn import Lsn
from projections.read_model import ReadModel
from projector.verify.checksum import BUCKETS, Checksums, bucket_of, ranges, spread
from projector.verify.feed import Feed, Told
from projector.verify.judge import Finding, Look, judge
from projector.verify.ledger import Ledger
from projector.verify.partitions import Partitioner
from projector.verify.source import Selection, Snapshot, Source
from projector.verify.table import Table

LOOKS = 8
_KEYS = 500  # of one query
_PIECES = 64
_RANGES = 512
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_ANY_END = (1 << 52) - 1

Row = tuple[Any, ...]


class Progress(Protocol):
    """Told how far a phase is; may raise to end the verification."""

    def __call__(self, phase: str, done: int, total: int | None = None, /) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Rows of both sides at a point."""

    point: Lsn
    expected_rows: int
    found_rows: int


class Comparison:
    """Compares one read model. wait_s: how long the model may take to cover a point."""

    def __init__(
        self,
        model: ReadModel,
        source: Source,
        table: Table,
        selection: Selection,
        *,
        wait_s: float,
        progress: Progress,
        feed: Feed | None = None,
    ) -> None:
        """feed: what is known of a feed, of which not all rows are copied."""
        self._source = source
        self._table = table
        self._selection = selection
        self._partitioner = Partitioner(model)
        self._width = len(model.key)
        self._wait_s = wait_s
        self._progress = progress
        self._feed = feed
        self._epoch = 1

    def whole(self, ledger: Ledger, parts: Sequence[tuple[int, int]]) -> Pass:
        """Compare the partitions in ranges of buckets; what differs or is open is in the ledger afterwards."""
        wanted = _marks(parts)
        sums = Checksums()
        with self._source.at_a_point() as snapshot:
            told = self._told(snapshot.point)
            for bucket, row in self._expected(snapshot, wanted, told):
                sums.expect(bucket, row)
            self.wait(snapshot.point)
            top = self._feed.top() if self._feed is not None else None
            for page in self._table.rows(spread(parts, _PIECES)):
                for token, row in self._compared(page if top is None else top.of(page), told):
                    sums.find(bucket_of(token), row)
                self._progress("rows of Cassandra", sums.found_rows, max(sums.expected_rows, sums.found_rows))
            differing = sums.differing()
            done = Pass(point=snapshot.point, expected_rows=sums.expected_rows, found_rows=sums.found_rows)
            if not differing:
                return done
            marks = _marks((bucket, bucket) for bucket in differing)
            rows = ((row[: self._width], row[self._width :]) for _, row in self._expected(snapshot, marks, told))
            while batch := list(islice(rows, _KEYS)):
                ledger.expect(batch)
        self._look_closely(ledger, marks, ranges(differing, _RANGES), done.point, told)
        return done

    def look_again(self, ledger: Ledger) -> int:
        """Look at open keys until each is judged; how many were not, because they changed at every look."""
        pause = _FIRST_PAUSE
        for number in range(LOOKS):
            count = ledger.count(Finding.OPEN)
            if not count:
                return 0
            if number:
                # Snapshots at random distances: what changes in a rhythm must not fall into step with them.
                time.sleep(pause * random.random())  # noqa: S311 (chance, not secrecy)
                pause = min(_LONGEST_PAUSE, pause * 1.7)
            with self._source.at_a_point() as snapshot:
                self.wait(snapshot.point)
                told, done = self._told(snapshot.point), 0
                for keys in ledger.keys(Finding.OPEN, chunk=_KEYS):
                    self._look(ledger, snapshot, keys, told)
                    done += len(keys)
                    self._progress(f"look {number + 1} at what is open", done, count)
        return ledger.settle(LOOKS)

    def wait(self, lsn: int) -> None:
        """Wait until the model covers a position."""
        self._epoch = self._table.wait_covered(
            lsn, seconds=self._wait_s, waiting=lambda covered: self._progress("waiting for coverage", covered, lsn)
        )

    @property
    def epoch(self) -> int:
        """The epoch that the read model is written in, known after the first wait."""
        return self._epoch

    def _told(self, point: int) -> Told | None:
        """What readers of a feed are told once it covers a point; None for any other read model."""
        if self._feed is None:
            return None
        self.wait(point)
        return self._feed.told()

    def _compared(self, rows: Iterable[tuple[int, Row]], told: Told | None) -> Iterable[tuple[int, Row]]:
        return rows if self._feed is None or told is None else self._feed.unmarked(rows, told)

    def _expected(self, snapshot: Snapshot, wanted: bytearray, told: Told | None) -> Iterable[tuple[int, Row]]:
        count = 0
        selection = self._selection if self._feed is None or told is None else self._feed.newest(told)
        for rows in snapshot.rows(selection):
            for bucket, row in self._compared(zip(self._partitioner.buckets(rows), rows, strict=True), told):
                if wanted[bucket]:
                    yield bucket, row
            count += len(rows)
            self._progress("rows of Postgres", count)

    def _look_closely(
        self, ledger: Ledger, marks: bytearray, parts: list[tuple[int, int]], point: int, told: Told | None
    ) -> None:
        width, done = self._width, 0
        for page in self._table.looks(parts):
            looks = []
            page = [each for each in page if marks[bucket_of(each[0])]]
            expected = ledger.expected([row[:width] for _, row, _ in page])
            for _, row, written in page:
                look = Look(expected=expected.get(row[:width]), found=row[width:], written=written)
                # The log's end is not known yet, so a timestamp that lies past it is left open.
                finding = judge(look, point=point, end=_ANY_END, epoch=self._epoch)
                if self._feed is not None and told is not None:
                    finding = self._feed.finding(row[:width], look, finding, told, must=None)
                looks.append((row[:width], look, finding))
            ledger.record(looks)
            done += len(page)
            self._progress("rows that may differ", done)

    def _look(self, ledger: Ledger, snapshot: Snapshot, keys: Sequence[Row], told: Told | None) -> None:
        width = self._width
        must: frozenset[Row] = frozenset()
        selection = self._selection
        if self._feed is not None and told is not None:
            selection = self._feed.copies(told)
            must = frozenset(row[:width] for row in snapshot.rows_of(self._feed.newest(told), keys))
        expected = {row[:width]: row[width:] for row in snapshot.rows_of(selection, keys)}
        found = self._table.rows_of(keys)
        end = snapshot.end()
        looks = []
        for key in keys:
            row, written = found.get(key, (None, None))
            look = Look(expected=expected.get(key), found=None if row is None else row[width:], written=written)
            finding = judge(look, point=snapshot.point, end=end, epoch=self._epoch)
            if self._feed is not None and told is not None:
                finding = self._feed.finding(key, look, finding, told, must=key in must)
            looks.append((key, look, finding))
        ledger.record(looks)


def _marks(parts: Iterable[tuple[int, int]]) -> bytearray:
    """One byte a bucket, 1 for those in the ranges."""
    marks = bytearray(BUCKETS)
    for first, last in parts:
        marks[first : last + 1] = b"\x01" * (last + 1 - first)
    return marks
