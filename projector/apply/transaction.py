"""A whole transaction of the log, and its changes, held in memory or spilled to a file when there are many."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from typing import IO, NamedTuple

from command_api.envelope import Message, Record, decode

SPILL_BYTES = 16 << 20


class Changes:
    """The changes of a transaction in order, appended one by one; read as often as wanted.

    Up to `SPILL_BYTES` they stay decoded in memory; from then on the records go to an unlinked temporary file, so a
    transaction of any size costs a bounded amount of memory, but for the eight bytes of each one's log offset. `messages`
    are those among them that ask the worker for something, each with its log offset.
    """

    def __init__(self) -> None:
        self._held: list[Record] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self.count = 0
        self.messages: list[tuple[int, Message]] = []
        self._offsets = array("q")

    def append(self, change: Record, value: bytes, offset: int = -1) -> None:
        """Add a change, the value that it was decoded from, and where that stands in the log."""
        self.count += 1
        self._offsets.append(offset)
        if self._file is None:
            self._held.append(change)
            self._bytes += len(value)
            if self._bytes > SPILL_BYTES:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the transaction)
        else:
            self._file.write(len(value).to_bytes(4, "big") + value)

    def __iter__(self) -> Iterator[Record]:
        yield from self._held
        if self._file is not None:
            self._file.seek(0)
            while header := self._file.read(4):
                yield decode(self._file.read(int.from_bytes(header, "big")))

    def append_nothing(self, offset: int) -> None:
        """Hold the place of a change that is passed over."""
        self.append(Record(), b"{}", offset)

    def offset_of(self, change: Record) -> int:
        """Where a change of these stands in the log; -1 when that is not known."""
        place = change.transaction.total_order if change.transaction is not None else 0
        return self._offsets[place - 1] if 0 < place <= len(self._offsets) else -1

    def close(self) -> None:
        """Give memory and file back; only `count` is left."""
        self._held.clear()
        if self._file is not None:
            self._file.close()


class Transaction(NamedTuple):
    """A transaction whose END is in the log with its count.

    lsn: end of its commit record. committed_at: microseconds. next_offset: the log offset to read on from once this
    and everything before it is applied. snapshot: its rows are what there was, and a replica may begin with it.
    columns: END's member of that name, JSON; empty where END has none.
    """

    lsn: int
    committed_at: int
    changes: Changes
    next_offset: int
    snapshot: bool = False
    columns: bytes = b""


class Heartbeat(NamedTuple):
    """The stream's position between transactions: all that committed at or below `lsn` stands before it."""

    lsn: int
    at: int
    next_offset: int
