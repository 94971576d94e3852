"""Protocol 5's segments: messages in a checked wrapping, without compression. Pure.

    3 bytes of length and a bit, 3 of their CRC-24  ──▶  the payload  ──▶  4 bytes of its CRC-32

A segment that is self-contained holds whole messages; a message that is longer than a segment is cut over several. The
driver's own codec computes the CRC-24 bit by bit and copies what is left of its buffer at each message, which took longer
than all else between a socket and a page of rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

MOST_BYTES = (1 << 17) - 1
"""Of a segment's payload."""
HEAD_BYTES = 9
"""Of a message: version, flags, stream, opcode, length of the body."""

_WHOLE = 1 << 17
_HEADER = 6
_TRAILER = 4
_CRC24_START = 0x875060
_CRC24_POLYNOMIAL = 0x1974F0B
_CRC32_START = crc32(b"\xfa\x2d\x55\xca")
_length_of_body = struct.Struct(">5xi").unpack_from


class BrokenSegmentError(Exception):
    """A checksum or a length can't be: nothing that follows on this connection can be read."""


def _crc24_of(byte: int) -> int:
    crc = byte << 16
    for _ in range(8):
        crc <<= 1
        if crc & 0x1000000:
            crc ^= _CRC24_POLYNOMIAL
    return crc


_CRC24 = [_crc24_of(byte) for byte in range(256)]


def _crc24(header: int) -> int:
    """Of a header's three bytes, the lowest first."""
    crc = _CRC24_START
    crc = (crc << 8 & 0xFFFFFF) ^ _CRC24[crc >> 16 ^ header & 0xFF]
    crc = (crc << 8 & 0xFFFFFF) ^ _CRC24[crc >> 16 ^ header >> 8 & 0xFF]
    return (crc << 8 & 0xFFFFFF) ^ _CRC24[crc >> 16 ^ header >> 16]


def wrapped(message: bytes) -> bytes:
    """A message as it is sent."""
    if len(message) <= MOST_BYTES:
        return _segment(message, _WHOLE)
    return b"".join(_segment(message[at : at + MOST_BYTES], 0) for at in range(0, len(message), MOST_BYTES))


def _segment(payload: bytes, whole: int) -> bytes:
    header = len(payload) | whole
    checked = (header | _crc24(header) << 24).to_bytes(_HEADER, "little")
    return checked + payload + crc32(payload, _CRC32_START).to_bytes(_TRAILER, "little")


class SegmentReader:
    """What a connection has received, as messages, each with its head, in order."""

    def __init__(self) -> None:
        self._unread = b""
        self._cut: list[bytes] = []  # the beginning of a message, a part a segment
        self._missing = 0  # bytes until more is known of it: its head, or all of it

    def messages(self, received: bytes) -> Iterator[bytes]:
        """Those that are whole now, the rest is kept; raises BrokenSegmentError."""
        data = self._unread + received if self._unread else received
        at, end = 0, len(data)
        try:
            while end - at >= _HEADER:
                checked = int.from_bytes(data[at : at + _HEADER], "little")
                header = checked & 0xFFFFFF
                if _crc24(header) != checked >> 24:
                    raise BrokenSegmentError("the checksum of a segment's header does not fit")
                first = at + _HEADER
                last = first + (header & MOST_BYTES)
                if end < last + _TRAILER:
                    break
                payload = data[first:last]
                if crc32(payload, _CRC32_START) != int.from_bytes(data[last : last + _TRAILER], "little"):
                    raise BrokenSegmentError("the checksum of a segment does not fit")
                at = last + _TRAILER
                yield from self._of_payload(payload)
        finally:
            self._unread = data[at:]

    def _of_payload(self, payload: bytes) -> Iterator[bytes]:
        if len(payload) < self._missing:
            self._cut.append(payload)
            self._missing -= len(payload)
            return
        data = b"".join((*self._cut, payload)) if self._cut else payload
        at, end = 0, len(data)
        self._cut, self._missing = [], 0
        while at < end:
            whole = HEAD_BYTES
            if end - at >= HEAD_BYTES:
                body = _length_of_body(data, at)[0]
                if body < 0:
                    raise BrokenSegmentError(f"a message of {body} bytes")
                whole += body
            if end - at < whole:
                self._cut, self._missing = [data[at:]], whole - (end - at)
                return
            last = at + whole
            yield data[at:last] if at or last < end else data
            at = last
