"""The pgoutput protocol (version 1, not streamed), decoded from bytes to frozen values. Pure: no connection, no state.

`decode` reads one message of a logical replication stream, the payload of one XLogData frame. It promises the
message whole or a PgoutputError that names the message and the offset: it never reads past the end, and bytes left over
are an error too. It does not promise that a value's text makes sense; `encodings` checks what it converts.

The layout is https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. Rows of known relations
take a faster way, compiled a relation in `rows`; this module is what that one is compared with.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from command_api.relay.errors import PgoutputError


class Unchanged(Enum):
    """The one value of a column that Postgres left out because its TOASTed value did not change."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Value = bytes | None | Unchanged
"""A column's value: its text in the database's output format, None for null, or UNCHANGED."""
Row = tuple[Value, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A relation's column. in_identity: it belongs to the replica identity (all do under REPLICA IDENTITY FULL)."""

    name: str
    type_oid: int
    type_modifier: int
    in_identity: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """A table as the following rows are laid out. identity: d(efault), n(othing), f(ull) or i(ndex)."""

    oid: int
    schema: str
    name: str
    identity: Literal["d", "n", "f", "i"]
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Type:
    """A type that is not built in, sent before the relation that uses it."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Begin:
    """commit_lsn: start of the commit record. committed_at: microseconds since 1970."""

    commit_lsn: int
    committed_at: int
    xid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """end_lsn: end of the commit record; the position that is confirmed."""

    commit_lsn: int
    end_lsn: int
    committed_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The transaction came from another server."""

    commit_lsn: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """pg_logical_emit_message()."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Insert:
    """A new row."""

    relation: int
    new: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """A changed row. old is there with old_is_full under REPLICA IDENTITY FULL, else only if the key changed."""

    relation: int
    old: Row | None
    old_is_full: bool
    new: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete:
    """A deleted row; without old_is_full only the identity's columns are filled."""

    relation: int
    old: Row
    old_is_full: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncate:
    """One or several tables emptied at once."""

    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


AnyMessage = Begin | Commit | Origin | Message | Relation | Type | Insert | Update | Delete | Truncate

POSTGRES_EPOCH: Final = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where Postgres counts from."""


class _Cursor:
    """Reads forward through one message and refuses to pass its end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 1

    def fail(self, what: str) -> PgoutputError:
        tag = self._data[:1].decode("latin-1")
        return PgoutputError(
            f"pgoutput message {tag!r} of {len(self._data)} bytes: {what} at offset {self._at}",
            hint="The replication stream is damaged or of an unknown version; report it with the server's version",
        )

    def take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise self.fail(f"{count} bytes expected, {len(self._data) - self._at} left")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def unsigned(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def signed(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big", signed=True)

    def text(self) -> str:
        end = self._data.find(0, self._at)
        if end < 0:
            raise self.fail("a text without its end")
        raw = self.take(end - self._at)
        self._at += 1
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.fail("a name that is not UTF-8") from error

    def letter(self, among: bytes) -> bytes:
        taken = self.take(1)
        if taken not in (among[i : i + 1] for i in range(len(among))):
            raise self.fail(f"{taken!r} where one of {among!r} is expected, just before")
        return taken

    def row(self) -> Row:
        return tuple(self._value() for _ in range(self.unsigned(2)))

    def _value(self) -> Value:
        match self.letter(b"tnu"):
            case b"t":
                return self.take(self.signed(4))
            case b"n":
                return None
            case _:
                return UNCHANGED

    def end(self) -> None:
        if self._at != len(self._data):
            raise self.fail(f"{len(self._data) - self._at} bytes left over")


def _flags(cursor: _Cursor, known: int) -> int:
    flags = cursor.unsigned(1)
    if flags & ~known:
        raise cursor.fail(f"unknown flags {flags:#x}, just before")
    return flags


def _begin(c: _Cursor) -> Begin:
    return Begin(commit_lsn=c.unsigned(8), committed_at=c.signed(8) + POSTGRES_EPOCH, xid=c.unsigned(4))


def _commit(c: _Cursor) -> Commit:
    _flags(c, 0)
    return Commit(commit_lsn=c.unsigned(8), end_lsn=c.unsigned(8), committed_at=c.signed(8) + POSTGRES_EPOCH)


def _origin(c: _Cursor) -> Origin:
    return Origin(commit_lsn=c.unsigned(8), name=c.text())


def _message(c: _Cursor) -> Message:
    transactional = bool(_flags(c, 1))
    return Message(transactional=transactional, lsn=c.unsigned(8), prefix=c.text(), content=c.take(c.signed(4)))


def _relation(c: _Cursor) -> Relation:
    oid, schema, name = c.unsigned(4), c.text(), c.text()
    identity = c.letter(b"dnfi").decode()
    columns = tuple(
        Column(in_identity=bool(_flags(c, 1)), name=c.text(), type_oid=c.unsigned(4), type_modifier=c.signed(4))
        for _ in range(c.unsigned(2))
    )
    # Postgres leaves the schema empty for pg_catalog.
    return Relation(oid=oid, schema=schema or "pg_catalog", name=name, identity=identity, columns=columns)  # type: ignore[arg-type]


def _type(c: _Cursor) -> Type:
    return Type(oid=c.unsigned(4), schema=c.text() or "pg_catalog", name=c.text())


def _insert(c: _Cursor) -> Insert:
    relation = c.unsigned(4)
    c.letter(b"N")
    return Insert(relation=relation, new=c.row())


def _update(c: _Cursor) -> Update:
    relation, kind, old = c.unsigned(4), c.letter(b"KON"), None
    if kind != b"N":
        old = c.row()
        c.letter(b"N")
    return Update(relation=relation, old=old, old_is_full=kind == b"O", new=c.row())


def _delete(c: _Cursor) -> Delete:
    relation, kind = c.unsigned(4), c.letter(b"KO")
    return Delete(relation=relation, old=c.row(), old_is_full=kind == b"O")


def _truncate(c: _Cursor) -> Truncate:
    count, flags = c.unsigned(4), _flags(c, 3)
    relations = tuple(c.unsigned(4) for _ in range(count))
    return Truncate(relations=relations, cascade=bool(flags & 1), restart_identity=bool(flags & 2))


_READERS: Final[dict[int, Callable[[_Cursor], AnyMessage]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("M"): _message,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
}


def decode(data: bytes) -> AnyMessage:
    """Read one message; raises PgoutputError."""
    cursor = _Cursor(data)
    reader = _READERS.get(data[0]) if data else None
    if reader is None:
        raise cursor.fail("an unknown message")
    message = reader(cursor)
    cursor.end()
    return message


LAYOUT_BEGIN: Final = struct.Struct(">QqI")
"""Begin's body, for a reader that can't afford a value a transaction: commit_lsn, microseconds since 2000, xid."""
LAYOUT_COMMIT: Final = struct.Struct(">BQQq")
"""Commit's body: flags, commit_lsn, end_lsn, microseconds since 2000."""
