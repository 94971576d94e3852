"""Records of the log, in order, to whole transactions and heartbeats. Pure: it takes values and offsets.

A transaction is handed on once, when its END is there and its changes are complete; what ends at or below the position
is a repetition and is passed over. Changes are collected by transaction id, so records of two writers that overlapped
(a paused relay that woke up) are told apart. Repeated records are recognized by their order within the transaction:
what stands at one place of one transaction is the same from every writer, so two that send the same transaction at the
same time complete each other, and a repeated BEGIN drops nothing that is known to be right.

An END whose changes are incomplete may be the tail of a failed delivery that the relay sent again afterwards: it is
remembered, and unless the whole transaction follows before anything later is handed on, `LogGapError` stops the worker.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from command_api.envelope import MESSAGE_PREFIX, SNAPSHOT_XID, LogRecordError, Record, decode
from projector.apply.transaction import Changes, Heartbeat, Transaction

_MOST_LSN = (1 << 52) - 1  # which write timestamps have room for
_LSN_DIGITS = 16
_MOST_MICROSECONDS = 1 << 62


class LogGapError(RuntimeError):
    """The log lacks records of a transaction that ended."""


class _Open:
    """A transaction that has begun; its changes are those from the first on without a gap."""

    def __init__(self, begin_id: str, first_offset: int) -> None:
        self.begin_id = begin_id
        self.first_offset = first_offset
        self.changes = Changes()


class Assembler:
    """Assembles the log from a position on.

    lsn: end LSN up to which everything is applied. from_start: False when reading begins in the middle of a log whose
    beginning is gone: then all before the next whole snapshot is passed over. skipped: offsets of records that are passed
    over; one of a transaction's changes keeps its place in it.
    """

    def __init__(self, lsn: int, *, from_start: bool = True, skipped: Container[int] = ()) -> None:
        self._lsn = lsn
        self._at = 0  # microseconds: the time of what was handed on last
        self._skipped = skipped
        self._open: dict[str, _Open] = {}
        self._last_id: str | None = None  # the last change's transaction id, and what it belongs to
        self._last: _Open | None = None
        self._gap: tuple[int, int] | None = None
        self.waiting_for_snapshot = not from_start

    def feed(self, records: Iterable[tuple[int, bytes]]) -> Iterator[Transaction | Heartbeat]:
        """Take (offset, value) in log order; raises LogRecordError with the offset, LogGapError."""
        for offset, value in records:
            if self._skipped and offset in self._skipped:
                self._pass_over(value, offset)
                continue
            try:
                record = decode(value)
                if record.op is not None:
                    self._change(record, value, offset)
                    continue
                done = self._boundary(record, offset)
            except LogRecordError as error:
                raise LogRecordError(
                    f"log offset {offset}: {error}; nothing after it is applied. If it is not the relay's, remove its writer and"
                    f" move past it with: projector skip --offset {offset}"
                ) from error
            if done is not None:
                yield done

    def _change(self, record: Record, value: bytes, offset: int) -> None:
        source, place = record.source, record.transaction
        if place is None and record.op == "m":  # outside of any transaction; a stock connector passes those on too
            return
        if source is None or place is None:
            raise LogRecordError(
                "a change without source or transaction: switch transaction metadata on (provide.transaction.metadata)"
            )
        if record.op not in ("c", "u", "d", "r", "t", "m"):
            raise LogRecordError(f"unknown op {record.op!r}")
        if place.id != self._last_id:
            self._last_id, self._last = place.id, self._open.get(_name(place.id))
        transaction = self._last
        if transaction is not None and place.total_order == transaction.changes.count + 1:
            transaction.changes.append(record, value, offset)
            message = record.message
            if message is not None and (message.prefix or "").startswith(MESSAGE_PREFIX):
                transaction.changes.messages.append((offset, message))

    def _pass_over(self, value: bytes, offset: int) -> None:
        self._last_id = None
        try:
            place = decode(value).transaction
        except LogRecordError:
            return
        transaction = self._open.get(_name(place.id)) if place is not None else None
        if place is not None and transaction is not None and place.total_order == transaction.changes.count + 1:
            transaction.changes.append_nothing(offset)

    def _boundary(self, record: Record, offset: int) -> Transaction | Heartbeat | None:
        self._last_id = None
        if record.status == "BEGIN":
            if record.id is None or _lsn_of(record.id) is None:
                raise LogRecordError(f"a BEGIN whose id {_shown(record.id)} does not end in an LSN")
            self._begin(record.id, offset)
            return None
        if record.status == "END":
            return self._end(record, offset)
        if record.status is None and record.lsn is not None:
            return self._heartbeat(record, offset)
        raise LogRecordError("neither a change, nor BEGIN or END, nor a heartbeat")

    def _begin(self, begin_id: str, offset: int) -> None:
        name = _name(begin_id)
        unfinished = self._open.get(name)
        if unfinished is not None:
            if unfinished.begin_id == begin_id and name != begin_id:  # two snapshots may read rows in another order
                return
            unfinished.changes.close()
        self._open[name] = _Open(begin_id, offset)

    def _end(self, record: Record, offset: int) -> Transaction | None:
        end_id = record.id or ""
        name, lsn = _name(end_id), _lsn_of(end_id)
        if lsn is None or record.event_count is None:
            raise LogRecordError(f"an END without event_count, or whose id {_shown(record.id)} does not end in an LSN")
        transaction = self._open.get(name)
        complete = transaction is not None and transaction.changes.count == record.event_count
        if complete and name == end_id:
            self.waiting_for_snapshot = False
        if lsn <= self._lsn or self.waiting_for_snapshot:
            if transaction is not None:
                del self._open[name]
                transaction.changes.close()
            return None
        if transaction is None or not complete:
            if self._gap is None or lsn < self._gap[0]:
                self._gap = (lsn, offset)
            return None
        self._check_gap(lsn, offset)
        del self._open[name]
        self._lsn = lsn
        self._drop_passed()
        next_offset = self._next_offset(offset)
        self._at = _micros(record)
        columns = bytes(record.columns)
        return Transaction(lsn, self._at, transaction.changes, next_offset, snapshot=name == end_id, columns=columns)

    def _drop_passed(self) -> None:
        """Unfinished transactions that can't be handed on any more must not hold back the offset to read on from.

        A BEGIN names the start of its commit record. Commit records don't overlap, so a transaction that begins one
        below the position ends at or below it: a woken relay sent a part of it again, and its END will not come. A
        snapshot begins and ends at the same LSN.
        """
        for name, transaction in list(self._open.items()):
            begin = int(transaction.begin_id.partition(":")[2] or 0)
            if begin < self._lsn or (name == transaction.begin_id and begin == self._lsn):
                transaction.changes.close()
                del self._open[name]

    def _heartbeat(self, record: Record, offset: int) -> Heartbeat | None:
        lsn = record.lsn or 0
        if not 0 <= lsn <= _MOST_LSN:
            raise LogRecordError(f"a heartbeat whose lsn {_shown(lsn)} is none")
        at = _micros(record)
        if self.waiting_for_snapshot or lsn < self._lsn or (lsn == self._lsn and at <= self._at):
            return None  # the same position at a later time says that nothing was committed until then
        self._check_gap(lsn + 1, offset)
        self._lsn, self._at = lsn, at
        self._drop_passed()
        return Heartbeat(lsn, at, self._next_offset(offset))

    def _check_gap(self, lsn: int, offset: int) -> None:
        if self._gap is None:
            return
        if lsn == self._gap[0]:
            self._gap = None
        elif lsn > self._gap[0]:
            raise LogGapError(
                f"the transaction that ends at LSN {self._gap[0]} (log offset {self._gap[1]}) is incomplete in the log, and offset"
                f" {offset} is past it: records were lost. Take a fresh whole snapshot (relay snapshot) and rebuild the replica from it"
            )

    @property
    def in_snapshot(self) -> bool:
        """A whole snapshot has begun and not ended."""
        return any(name == transaction.begin_id for name, transaction in self._open.items())

    def _next_offset(self, offset: int) -> int:
        return min((t.first_offset for t in self._open.values()), default=offset + 1)


def _name(transaction_id: str) -> str:
    """What tells transactions apart: the xid, whose LSN differs between BEGIN and END; of a snapshot the whole id."""
    xid = transaction_id.partition(":")[0]
    return transaction_id if xid == SNAPSHOT_XID else xid


def _lsn_of(transaction_id: str) -> int | None:
    """The LSN that an id ends in; None when it ends in none."""
    text = transaction_id.partition(":")[2]
    if not (text.isascii() and text.isdigit() and len(text) <= _LSN_DIGITS):
        return None
    lsn = int(text)
    return lsn if lsn <= _MOST_LSN else None


def _micros(record: Record) -> int:
    at = record.ts_us if record.ts_us is not None else record.ts_ms * 1_000
    if abs(at) > _MOST_MICROSECONDS:
        raise LogRecordError(f"a time of {_shown(at)} microseconds is none")
    return at


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 256 else "of many digits"
    return text if len(text) <= 80 else f"{text[:80]}…"
