"""From the stream's frames to the log's records, a transaction at a time. No I/O: frames in, records out by `emit`.

    BEGIN, change, change, …, END   per committed transaction, in commit order

Promised: records as `command_api.envelope` describes; `total_order` without gaps; nothing of a transaction that commits
at or below `resume_at`, which the log already holds; a PgoutputError, and no END of that transaction, when the stream
contradicts itself. A transaction of which no published table has a change gives no record: its position comes by
heartbeat.

Messages (``pg_logical_emit_message``) of a transaction are records like its changes if their prefix begins with
`envelope.MESSAGE_PREFIX`; all others, and those outside of transactions, give no record.

Not promised: that what was emitted reached the log. The caller starts over with a new object after any error.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Final

from command_api import envelope
from command_api.relay import pgoutput
from command_api.relay.errors import PgoutputError
from command_api.relay.pgoutput import LAYOUT_BEGIN, LAYOUT_COMMIT, POSTGRES_EPOCH, UNCHANGED, Relation, Row
from command_api.relay.rows import RowEncoders, after_lsn, before_lsn

Emit = Callable[[bytes | None, bytes], None]
Compile = Callable[[Relation], RowEncoders]

_PAYLOAD: Final = 25  # an XLogData frame: 'w', start of the WAL, its end, the server's clock, then the message
_NULL: Final = b"null"
_MESSAGES: Final = b"M"  # stands for a relation's OID, which has four bytes


class Transactions:
    """Reads frames; `inside` while a transaction's COMMIT has not come; `committed_at` of the last one."""

    def __init__(
        self, *, emit: Emit, compile_relation: Compile, on_type: Callable[[int], None], history: str, resume_at: int
    ) -> None:
        self.inside = False
        self.changes = 0
        self.transactions = 0
        self.committed_at = 0
        self._emit = emit
        self._compile = compile_relation
        self._on_type = on_type
        self._history = history.encode()
        self._resume_at = resume_at
        self._relations: dict[bytes, RowEncoders] = {}
        self._skipping = False
        self._order = 0
        self._counts: dict[bytes, int] = {}
        self._xid = self._commit_lsn = self._begun_at = 0
        self._source = self._transaction = b""
        self._before_lsn = self._after_insert = self._after_update = b""

    def feed(self, frame: bytes) -> int:
        """Read one XLogData frame; returns the end LSN when it ended a transaction that was emitted, else 0."""
        try:
            tag = frame[_PAYLOAD]
            if tag == 73:  # Insert, the hot one
                if not self._skipping:
                    self._insert(frame)
                return 0
            if tag == 85:
                if not self._skipping:
                    self._update(frame)
                return 0
            if tag == 68:
                if not self._skipping:
                    self._delete(frame)
                return 0
            if tag == 66 and len(frame) == _PAYLOAD + 21:
                self._begins(*LAYOUT_BEGIN.unpack_from(frame, _PAYLOAD + 1))
                return 0
            if tag == 67 and len(frame) == _PAYLOAD + 26:
                return self._commits(*LAYOUT_COMMIT.unpack_from(frame, _PAYLOAD + 1))
            return self._other(frame[_PAYLOAD:])
        except (IndexError, KeyError, UnicodeDecodeError, OverflowError, struct.error) as error:
            raise PgoutputError(
                f"pgoutput message {frame[_PAYLOAD : _PAYLOAD + 1]!r} of {len(frame)} bytes can't be read: {error!r}",
                hint="The replication stream is damaged or of an unknown version; report it with the server's version",
            ) from error

    def take_counts(self) -> tuple[int, int]:
        """Changes and transactions emitted since the last call."""
        taken = self.changes, self.transactions
        self.changes = self.transactions = 0
        return taken

    def _next(self, oid: bytes) -> int:
        """Open the transaction in the log if this is its first change; count one change of a table."""
        if not self.inside:
            raise PgoutputError("a change outside of a transaction")
        if not self._order:
            self._open()
        nth = self._counts.get(oid, 0) + 1
        self._counts[oid] = nth
        self._order += 1
        return nth

    def _relation(self, oid: bytes) -> RowEncoders:
        try:
            return self._relations[oid]
        except KeyError:
            raise PgoutputError(
                f"a change of relation {int.from_bytes(oid, 'big')}, which was never described"
            ) from None

    def _insert(self, frame: bytes) -> None:
        if frame[30] != 78:
            raise PgoutputError(f"an insert with a tuple of kind {frame[30]}")
        oid = frame[26:30]
        rows = self._relation(oid)
        nth = self._next(oid)
        lsn = int.from_bytes(frame[1:9], "big")
        self._emit(*rows.tuple_(frame, 31, self._before_lsn, lsn, self._after_insert, self._order, nth))

    def _update(self, frame: bytes) -> None:
        oid = frame[26:30]
        rows = self._relation(oid)
        lsn = int.from_bytes(frame[1:9], "big")
        if frame[30] == 78:
            nth = self._next(oid)
            self._emit(*rows.tuple_(frame, 31, self._before_lsn, lsn, self._after_update, self._order, nth))
            return
        change = pgoutput.decode(frame[_PAYLOAD:])
        assert isinstance(change, pgoutput.Update)
        assert change.old is not None
        old, new = self._checked(rows, change.old), self._checked(rows, change.new)
        # An old key's tuple holds nulls where it has no value: only what it is sure of may fill a gap.
        known = range(len(old)) if change.old_is_full else rows.key_positions
        new = tuple(old[i] if value is UNCHANGED and i in known else value for i, value in enumerate(new))
        before = (rows.values if change.old_is_full else rows.partial)(old)
        if all(old[i] == new[i] for i in rows.key_positions):
            self._change(oid, rows, rows.key(new), before if change.old_is_full else _NULL, rows.values(new), b"u", lsn)
        else:
            after = rows.values(new)
            self._change(oid, rows, rows.key(old), before, _NULL, b"d", lsn)
            self._change(oid, rows, rows.key(new), _NULL, after, b"c", lsn)

    def _delete(self, frame: bytes) -> None:
        change = pgoutput.decode(frame[_PAYLOAD:])
        assert isinstance(change, pgoutput.Delete)
        oid = frame[26:30]
        rows = self._relation(oid)
        old = self._checked(rows, change.old)
        before = (rows.values if change.old_is_full else rows.partial)(old)
        self._change(oid, rows, rows.key(old), before, _NULL, b"d", int.from_bytes(frame[1:9], "big"))

    @staticmethod
    def _checked(rows: RowEncoders, row: Row) -> Row:
        if len(row) != len(rows.relation.columns):
            raise PgoutputError(
                f"a row of {len(row)} values for the {len(rows.relation.columns)} columns of {rows.table}"
            )
        return row

    def _change(
        self, oid: bytes, rows: RowEncoders, key: bytes | None, before: bytes, after: bytes, op: bytes, lsn: int
    ) -> None:
        nth = self._next(oid)
        self._emit(key, rows.change(before, after, op, lsn, self._source, self._transaction, self._order, nth))

    def _other(self, payload: bytes) -> int:
        match pgoutput.decode(payload):
            case pgoutput.Begin() | pgoutput.Commit():
                raise PgoutputError("a transaction's bounds of an unknown length")
            case pgoutput.Relation() as relation:
                self._relations[relation.oid.to_bytes(4, "big")] = self._compile(relation)
            case pgoutput.Type() as described:
                self._on_type(described.oid)
            case pgoutput.Truncate() as truncate if not self._skipping:
                for oid in truncate.relations:
                    rows = self._relation(oid.to_bytes(4, "big"))
                    self._change(oid.to_bytes(4, "big"), rows, None, _NULL, _NULL, b"t", self._commit_lsn)
            case pgoutput.Message() as message if message.transactional and not self._skipping:
                if message.prefix.startswith(envelope.MESSAGE_PREFIX):
                    self._message(message)
        return 0

    def _message(self, message: pgoutput.Message) -> None:
        nth = self._next(_MESSAGES)
        value = envelope.message(
            message.prefix, message.content, message.lsn, self._source, self._transaction, self._order, nth
        )
        self._emit(envelope.message_key(message.prefix), value)

    def _begins(self, commit_lsn: int, since_2000: int, xid: int) -> None:
        if self.inside:
            raise PgoutputError("a transaction begins inside another")
        self.inside = True
        self._xid, self._commit_lsn, self._begun_at = xid, commit_lsn, since_2000 + POSTGRES_EPOCH
        self._skipping = commit_lsn < self._resume_at
        self._order = 0
        self._counts = {}

    def _open(self) -> None:
        """BEGIN, at the transaction's first change."""
        identifier = b"%d:%d" % (self._xid, self._commit_lsn)
        self._source = envelope.source_part(self._begun_at, self._xid)
        self._transaction = envelope.transaction_part(identifier, time.time_ns() // 1_000_000)
        self._before_lsn = before_lsn(self._source)
        self._after_insert = after_lsn(b"c", self._transaction)
        self._after_update = after_lsn(b"u", self._transaction)
        self._emit(envelope.transaction_key(identifier), envelope.begin(identifier, self._begun_at))

    def _commits(self, flags: int, commit_lsn: int, end_lsn: int, since_2000: int) -> int:
        if not self.inside or flags or self._commit_lsn != commit_lsn:
            raise PgoutputError("a commit that does not belong to the transaction before it")
        self.inside = False
        self.committed_at = committed_at = since_2000 + POSTGRES_EPOCH
        if self._skipping or not self._order:
            self._skipping = False
            return 0
        relations = self._relations
        counts, numbered = [], []
        for oid, count in self._counts.items():
            if oid == _MESSAGES:
                counts.append((envelope.MESSAGES, count))
            else:
                rows = relations[oid]
                counts.append((rows.table_json, count))
                if rows.numbered:
                    numbered.append(rows.numbered)
        identifier = b"%d:%d" % (self._xid, end_lsn)
        self._emit(
            envelope.transaction_key(identifier),
            envelope.end(identifier, self._order, counts, committed_at, self._history, numbered),
        )
        self.changes += self._order
        self.transactions += 1
        return end_lsn
