"""Where reading begins, which snapshot is gone on from, and what its transaction says."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Column, Integer, MetaData, Table, Text, select

from command_api import envelope
from projections import HOME_TIMELINE, INCREMENTAL
from projections.read_model import ReadModel
from projector.apply.anew import Anew, later_snapshot, where_to_begin
from projector.apply.log import LogReader
from projector.apply.transaction import Changes, Heartbeat, Transaction
from projector.compile.program import compile_models

T = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("a", Text))
PROGRAM = compile_models((ReadModel(name="m", select=select(T), partition_key=("id",)),))


class Log:
    """Records in memory, a few at a time; offsets have gaps, as after a compaction or a transaction's marker."""

    def __init__(self, *values: bytes) -> None:
        self._records = [(3 * at, value) for at, value in enumerate(values)]
        self._at = 0

    def bounds(self) -> tuple[int, int]:
        return 0, self._records[-1][0] + 1

    def open_at(self, offset: int | None) -> None:
        self._at = offset or 0

    def read(self, most: int, timeout: float) -> list[tuple[int, bytes]]:
        found = [record for record in self._records if record[0] >= self._at][:2]
        self._at = found[-1][0] + 1 if found else self._at
        return found


def begin(identifier: bytes) -> bytes:
    return envelope.begin(identifier, 5)


def end(identifier: bytes) -> bytes:
    return envelope.end(identifier, 1, [], 5, b"1/1")


def newest(after: int, *values: bytes) -> int | None:
    return later_snapshot(cast(LogReader, Log(*values)), after)


def test_the_newest_whole_snapshot_after_the_record() -> None:
    log = (
        begin(b"snapshot:10"), end(b"snapshot:10"), begin(b"700:20"), end(b"700:21"),
        begin(b"snapshot:30"), begin(b"snapshot:40"), begin(b"701:29"), end(b"701:30"),
        end(b"snapshot:30"), b'{"ts_ms":1,"lsn":50}', b"garbage",
    )  # fmt: skip
    assert newest(-1, *log) == 12
    assert newest(11, *log) == 12
    assert newest(12, *log) is None, "its begin is not after the record, and the last has no end"
    assert newest(0, *log[:4]) is None


def test_where_reading_begins() -> None:
    anew = Anew(77, PROGRAM)
    assert where_to_begin(5, 0, None) == (5, True)
    assert where_to_begin(0, 0, None) == (0, True)
    assert where_to_begin(0, 9, None) == (9, False)
    assert where_to_begin(5, 0, anew) == (77, False)


def test_only_the_first_transaction_is_restated() -> None:
    told: list[int] = []
    items = [Heartbeat(4, 0, 1), Transaction(10, 5, Changes(), 2), Transaction(20, 5, Changes(), 3)]
    _, first, second = Anew(7, PROGRAM).items(items, told.append)
    assert isinstance(first, Transaction)
    assert isinstance(second, Transaction)
    assert [(change.op, change.source and change.source.table) for change in first.changes] == [("t", "t")]
    assert list(second.changes) == []
    assert told == [10]


def test_what_the_worker_keeps_itself_is_not_emptied() -> None:
    program = compile_models(INCREMENTAL)
    (first,) = Anew(7, program).items([Transaction(10, 5, Changes(), 2)], lambda _lsn: None)
    assert isinstance(first, Transaction)
    names = {change.source.table for change in first.changes if change.source is not None}
    assert HOME_TIMELINE.name not in names
    assert {"follows", "posts", "users"} <= names
