"""Protocol 5's segments: what the driver's own codec makes and reads, and nothing that is broken."""

from __future__ import annotations

import io
import struct

import pytest
from cassandra.segment import SegmentCodec
from hypothesis import given
from hypothesis import strategies as st

from read_api.segments import MOST_BYTES, BrokenSegmentError, SegmentReader, wrapped


def message(size: int, seed: int = 0) -> bytes:
    """A message with a body of so many bytes."""
    return struct.pack(">BBhBi", 0x85, 0, seed, 8, size) + (bytes(range(seed, 251)) * (size // 240 + 1))[:size]


def by_driver(text: bytes) -> bytes:
    buffer = io.BytesIO()
    SegmentCodec().encode(buffer, text)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [0, 1, 255, 65_536, MOST_BYTES - 9, MOST_BYTES - 8, 3 * MOST_BYTES])
def test_a_message_is_wrapped_as_the_driver_wraps_it(size: int) -> None:
    assert wrapped(message(size)) == by_driver(message(size))


@given(
    sizes=st.lists(st.one_of(st.integers(0, 300), st.sampled_from([MOST_BYTES - 9, MOST_BYTES, 300_000])), max_size=5),
    cuts=st.lists(st.integers(2_000, 100_000), min_size=1, max_size=20),
)
def test_messages_come_whole_and_in_order_however_they_are_cut(sizes: list[int], cuts: list[int]) -> None:
    sent = [message(size, seed) for seed, size in enumerate(sizes)]
    stream = b"".join(map(by_driver, sent))
    reader, received, at = SegmentReader(), list[bytes](), 0
    while at < len(stream):
        for cut in cuts:
            received += reader.messages(stream[at : at + cut])
            at += cut
    assert received == sent


def test_a_byte_at_a_time() -> None:
    sent = [message(size, size) for size in range(10)]
    reader = SegmentReader()
    assert [found for byte in b"".join(map(by_driver, sent)) for found in reader.messages(bytes((byte,)))] == sent


def test_several_messages_share_a_segment() -> None:
    sent = [message(30, seed) for seed in range(3)]
    assert list(SegmentReader().messages(by_driver(b"".join(sent)))) == sent


@pytest.mark.parametrize("at", [0, 2, 3, 5, 6, 40, -1])
def test_a_changed_byte_is_found(at: int) -> None:
    stream = bytearray(wrapped(message(50)))
    stream[at] ^= 0x10
    with pytest.raises(BrokenSegmentError):
        list(SegmentReader().messages(bytes(stream) + wrapped(message(MOST_BYTES))))


def test_a_message_has_no_negative_length() -> None:
    broken = struct.pack(">BBhBi", 0x85, 0, 1, 8, -9)
    with pytest.raises(BrokenSegmentError):
        list(SegmentReader().messages(wrapped(broken)))
