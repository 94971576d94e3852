"""Results on the wire: types are asked for no more once they are known, and count where they are sent; uuids and decimals stay bytes."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from cassandra import cqltypes
from cassandra.protocol import ProtocolHandler, ResultMessage

from read_api.protocol import Column, RawRows, raw_columns

VERSION = 5
SKIP_METADATA = 0x02
COLUMNS: list[Column] = [
    ("k", "t", "u", cqltypes.UUIDType),
    ("k", "t", "n", cqltypes.DecimalType),
    ("k", "t", "b", cqltypes.LongType),
    ("k", "t", "s", cqltypes.UTF8Type),
    ("k", "t", "l", cqltypes.ListType.apply_parameters((cqltypes.UUIDType,))),
]
CODES = {cqltypes.UUIDType: 0x0C, cqltypes.DecimalType: 0x06, cqltypes.LongType: 0x02, cqltypes.UTF8Type: 0x0D}
VALUES = (UUID(int=7), Decimal("-12.50"), -(1 << 63), "ü", [UUID(int=1), UUID(int=2)])
RAW = (UUID(int=7).bytes, b"\x00\x00\x00\x02\xfb\x1e", -(1 << 63), "ü", [UUID(int=1), UUID(int=2)])


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def described(kind: Any) -> bytes:
    if kind.typename == "list":
        return struct.pack(">H", 0x20) + described(kind.subtypes[0])
    return struct.pack(">H", CODES[kind])


def frame(rows: list[tuple[Any, ...]], columns: list[Column], *, sent: bool) -> bytes:
    """The body of a RESULT. sent: with new metadata, and their id."""
    body = struct.pack(">i", 2)
    if sent:
        body += struct.pack(">ii", 0x0009, len(columns)) + text("another id") + text("k") + text("t")
        body += b"".join(text(name) + described(kind) for _, _, name, kind in columns)
    else:
        body += struct.pack(">ii", 0x0004, len(columns))
    body += struct.pack(">i", len(rows))
    for row in rows:
        for value, (*_, kind) in zip(row, columns, strict=True):
            cell = b"" if value is None else kind.serialize(value, VERSION)
            body += struct.pack(">i", -1 if value is None else len(cell)) + cell
    return body


def decoded(body: bytes, known: list[Column] | None) -> ResultMessage:
    return RawRows.decode_message(VERSION, {}, 1, 0, ResultMessage.opcode, body, None, known)


@pytest.mark.parametrize("sent", [False, True])
def test_uuids_and_decimals_come_as_bytes_whoever_says_the_types(sent: bool) -> None:
    nulls = (None,) * len(COLUMNS)
    body = frame([VALUES, nulls], COLUMNS, sent=sent)
    known = None if sent else raw_columns(COLUMNS)
    assert decoded(body, known).parsed_rows == [RAW, nulls]
    plain = ProtocolHandler.decode_message(VERSION, {}, 1, 0, ResultMessage.opcode, body, None, COLUMNS)
    assert plain.parsed_rows == [VALUES, nulls]


def test_types_that_have_changed_count() -> None:
    now = [COLUMNS[3], COLUMNS[0]]
    assert decoded(frame([("x", UUID(int=1))], now, sent=True), raw_columns(COLUMNS)).parsed_rows == [
        ("x", UUID(int=1).bytes)
    ]
