"""Going on from a later whole snapshot of the log, when a record before it can't be read.

A snapshot says all that there is at its place. So whoever stands before it may take it for a truncate of every table and then
its rows, as one transaction: what the rows before it came to is found among the images, written anew or deleted. What lies
between is passed over, without loss: whatever it did, the snapshot shows. It costs one write of every row. What was written
before must be committed, all of it up to the record: a row of which the replica knows nothing would stay where the snapshot
knows nothing of it either.

Not promised: a snapshot beyond what is published, to a replica that is behind that; rows deleted in between would be unknown
(`projector.published.Published.check_snapshot`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from command_api.envelope import SNAPSHOT_XID, LogRecordError, Record, Source, decode
from projector.apply.log import LogReader
from projector.apply.transaction import Changes, Heartbeat, Transaction
from projector.compile.program import Program

_RECORDS = 10_000
_WAIT_S = 1.0


class Anew:
    """One way on. offset: of the snapshot's BEGIN."""

    def __init__(self, offset: int, program: Program) -> None:
        self.offset = offset
        own = {feed.hot.fullname for feed in program.feeds}  # the worker's, of which no record speaks
        self._names = [table.name for table in program.tables.values() if table.fullname not in own]

    def items(
        self, found: Iterable[Transaction | Heartbeat], check: Callable[[int], None]
    ) -> Iterator[Transaction | Heartbeat]:
        """What is found from there on, the snapshot with truncates before its rows. check: told its LSN; raises WorkerError."""
        for item in found:
            if self._names and isinstance(item, Transaction):
                check(item.lsn)
                item = item._replace(changes=_Restated(item.changes, self._names))
                self._names = []
            yield item


class _Restated(Changes):
    """A snapshot's changes after a truncate of each table."""

    def __init__(self, changes: Changes, names: Iterable[str]) -> None:
        super().__init__()
        self._changes = changes
        self._truncates = []
        for name in names:
            schema, _, table = name.partition(".")
            self._truncates.append(Record(op="t", source=Source(schema=schema, table=table)))
        self.count, self.messages = changes.count, changes.messages

    def __iter__(self) -> Iterator[Record]:
        yield from self._truncates
        yield from self._changes

    def offset_of(self, change: Record) -> int:
        return self._changes.offset_of(change)

    def close(self) -> None:
        self._changes.close()


def where_to_begin(position: int, low: int, anew: Anew | None) -> tuple[int, bool]:
    """The offset to read from, and whether all from there on counts; else only from the next whole snapshot on.

    position: the replica's, 0 for a new one. low: the log's first.
    """
    if anew is not None:
        return anew.offset, False
    return (position, True) if position else (low, low == 0)


def later_snapshot(log: LogReader, after: int) -> int | None:
    """The offset at which the newest whole snapshot that begins after an offset does; None when there is none."""
    _, high = log.bounds()
    begun: dict[str, int] = {}
    newest = None
    at = after + 1
    log.open_at(at)
    while at < high:
        records = log.read(_RECORDS, _WAIT_S)
        for offset, value in records:
            if value[:12] == b'{"status":"B' or value[:12] == b'{"status":"E':
                newest = _boundary(offset, value, begun, newest)
        if not records:
            break
        at = records[-1][0] + 1
    return newest


def _boundary(offset: int, value: bytes, begun: dict[str, int], newest: int | None) -> int | None:
    try:
        record = decode(value)
    except LogRecordError:
        return newest
    if record.id is None or record.id.partition(":")[0] != SNAPSHOT_XID:
        return newest
    if record.status == "BEGIN":
        begun[record.id] = offset
        return newest
    return begun.get(record.id, newest)
