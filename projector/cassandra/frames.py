"""BATCH messages of the native protocol, v4 and v5, and their answers, for the driver's `Connection.send_msg`. Pure.

The driver frames, checksums, sends and receives; this only replaces its encoding of a batch value by value, and skips
its decoder for the one answer that says "written". Anything else goes to the driver's decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from cassandra import ProtocolVersion
from cassandra.protocol import ProtocolHandler

_BATCH = 0x0D
_RESULT = 0x08
_VOID = b"\x00\x00\x00\x01"
_UNLOGGED = 1
_DEFAULT_TIMESTAMP = 0x20
_header = struct.Struct(">BBhBI").pack
_start = struct.Struct(">BH").pack
_end_v4 = struct.Struct(">HBq").pack
_end_v5 = struct.Struct(">HIq").pack

Batch = tuple[Sequence[bytes], int, int]
"""Entries, consistency level, write timestamp of all of them."""


def encode_batch(
    batch: Batch,
    stream_id: int,
    protocol_version: int,
    compressor: object = None,
    allow_beta_protocol_version: bool = False,
) -> bytes:
    """The frame of an unlogged batch, in the signature of the driver's encoders; never compressed."""
    entries, consistency, timestamp = batch
    end = _end_v5 if ProtocolVersion.uses_int_query_flags(protocol_version) else _end_v4
    body = b"".join((_start(_UNLOGGED, len(entries)), *entries, end(consistency, _DEFAULT_TIMESTAMP, timestamp)))
    return _header(protocol_version, 0, stream_id, _BATCH, len(body)) + body


def decode_answer(
    protocol_version: int,
    user_types: object,
    stream_id: int,
    flags: int,
    opcode: int,
    body: bytes,
    decompressor: object,
    result_metadata: object,
) -> Any:
    """None when the batch was written; otherwise the driver's message, an exception for a server error."""
    if opcode == _RESULT and flags == 0 and body == _VOID:
        return None
    return ProtocolHandler.decode_message(
        protocol_version, user_types, stream_id, flags, opcode, body, decompressor, result_metadata
    )
