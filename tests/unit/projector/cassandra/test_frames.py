"""Frames byte for byte as the driver makes them, in both protocol versions; answers as the driver decodes them."""

from __future__ import annotations

import struct

import pytest
from cassandra import ConsistencyLevel
from cassandra.protocol import BatchMessage, InvalidRequestException, ProtocolHandler
from cassandra.query import BatchType

from projections.cassandra_table import CassandraTable
from projections.values import Kind, ValueType
from projector.cassandra.encode import RowEncoder
from projector.cassandra.frames import decode_answer, encode_batch

TABLE = CassandraTable(
    keyspace="k",
    name="t",
    columns={"id": ValueType(kind=Kind.INTEGER, bits=64), "v": ValueType(kind=Kind.TEXT)},
    partition_key=("id",),
    clustering=(),
)


@pytest.mark.parametrize("version", [4, 5])
def test_a_batch_is_the_drivers_own_bytes(version: int) -> None:
    entries = RowEncoder(TABLE).bind(b"0123456789abcdef", [(1, "one"), (2, None), (-3, "")])
    packed = [(struct.pack(">q", 1), b"one"), (struct.pack(">q", 2), None), (struct.pack(">q", -3), b"")]
    message = BatchMessage(
        BatchType.UNLOGGED,
        [(True, b"0123456789abcdef", values) for values in packed],
        ConsistencyLevel.LOCAL_QUORUM,
        timestamp=(1 << 52) | 77,
    )
    driver = ProtocolHandler.encode_message(message, 300, version, None, False)
    assert encode_batch((entries, ConsistencyLevel.LOCAL_QUORUM, (1 << 52) | 77), 300, version) == driver


def test_written_is_none_and_an_error_is_the_drivers() -> None:
    assert decode_answer(5, None, 1, 0, 0x08, b"\0\0\0\1", None, None) is None
    body = struct.pack(">iH", 0x2200, 3) + b"bad"
    answer = decode_answer(5, None, 1, 0, 0x00, body, None, None)
    assert isinstance(answer, InvalidRequestException)
    assert answer.message == "bad"


def test_written_with_a_warning_goes_to_the_drivers_decoder_which_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    warned = struct.pack(">HH", 1, 5) + b"large" + b"\0\0\0\1"
    assert not isinstance(decode_answer(5, None, 1, 0x08, 0x08, warned, None, None), BaseException)
    assert "large" in caplog.text
