"""Marks of partitions: how a worker that has written some tells a reader that watches one, in four bytes each. Pure.

A mark is the CRC-32 of the partition key's values as CQL serializes them, each after its length. Two partitions may share a
mark: whoever is told of one must look for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

import msgspec


class Announcement(msgspec.Struct, array_like=True, frozen=True):
    """What a worker has written up to `lsn`. marks: of a table's partitions, four bytes each; None for any of them."""

    lsn: int
    marks: dict[str, bytes | None]


def mark(values: Iterable[bytes]) -> int:
    """The mark of a partition key's serialized values."""
    return crc32(b"".join(len(value).to_bytes(4, "big") + value for value in values))


def marks(entries: Sequence[bytes], head: int, width: int) -> set[int]:
    """Those of rows in a BATCH's form: `head` is where an entry's values begin, the first `width` are the partition key."""
    found = set()
    last, known = b"", -1
    for entry in entries:
        if known < 0 or not entry.startswith(last, head):
            end = head
            for _ in range(width):
                end += 4 + int.from_bytes(entry[end : end + 4], "big")
            last = entry[head:end]
            known = crc32(last)
            found.add(known)
    return found


def packed(found: Iterable[int]) -> bytes:
    """Marks as an announcement holds them."""
    return b"".join(number.to_bytes(4, "big") for number in found)


def unpacked(data: bytes) -> set[int]:
    """The marks of an announcement."""
    return {int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)}
