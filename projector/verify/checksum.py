"""Checksums of both sides' partitions, held in memory of a fixed size however large the table is. Pure.

A partition belongs to the bucket that its Cassandra token falls into; a bucket is a contiguous range of tokens, so one
whose checksum differs can be read again alone. A bucket's checksum is a sum of its rows' 128-bit hashes, which no order
changes: one side adds, the other takes away, and zero is equal (two different sets of rows collide with a probability
of about 2**-128). 2**18 buckets take 16 bytes each: 4 MiB for any table.
"""

from __future__ import annotations

import hashlib
import random
import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

BITS = 18
BUCKETS = 1 << BITS
_SHIFT = 64 - BITS
_HALF = 1 << 63
_MASK = (1 << 64) - 1
_halves = struct.Struct("<QQ").unpack
_encode = msgspec.msgpack.Encoder().encode

Row = tuple[Any, ...]


def bucket_of(token: int) -> int:
    """The bucket of a Murmur3 token."""
    return (token + _HALF) >> _SHIFT


def tokens_of(first: int, last: int) -> tuple[int, int]:
    """The lowest and the highest token of buckets first..last."""
    return (first << _SHIFT) - _HALF, ((last + 1) << _SHIFT) - 1 - _HALF


class Checksums:
    """The sums of one comparison; `rows` counts what was added to each side."""

    def __init__(self) -> None:
        self._low = array("Q", bytes(8 * BUCKETS))
        self._high = array("Q", bytes(8 * BUCKETS))
        self.expected_rows = 0
        self.found_rows = 0

    def expect(self, bucket: int, row: Row) -> None:
        """Add a row of Postgres, in replica form, in the table's column order."""
        low, high = _halves(hashlib.blake2b(_encode(row), digest_size=16).digest())
        self._low[bucket] = (self._low[bucket] + low) & _MASK
        self._high[bucket] = (self._high[bucket] + high) & _MASK
        self.expected_rows += 1

    def find(self, bucket: int, row: Row) -> None:
        """Take away a row of Cassandra."""
        low, high = _halves(hashlib.blake2b(_encode(row), digest_size=16).digest())
        self._low[bucket] = (self._low[bucket] - low) & _MASK
        self._high[bucket] = (self._high[bucket] - high) & _MASK
        self.found_rows += 1

    def differing(self) -> list[int]:
        """Buckets whose sides differ, in token order."""
        high = self._high
        return [bucket for bucket, low in enumerate(self._low) if low or high[bucket]]


def ranges(buckets: Iterable[int], most: int) -> list[tuple[int, int]]:
    """At most `most` ranges (first and last bucket) that hold all these buckets, in order, with the smallest gaps joined."""
    ordered = sorted(buckets)
    if not ordered:
        return []
    gaps = sorted(range(1, len(ordered)), key=lambda i: ordered[i - 1] - ordered[i])
    cuts = sorted(i for i in gaps[: most - 1] if ordered[i] - ordered[i - 1] > 1)
    starts = [0, *cuts]
    ends = [*(cut - 1 for cut in cuts), len(ordered) - 1]
    return [(ordered[a], ordered[b]) for a, b in zip(starts, ends, strict=True)]


def sample(percent: float, seed: int, pieces: int = 64) -> list[tuple[int, int]]:
    """Ranges of buckets (first and last) that together are `percent` of all, one at a random place in each piece.

    A partition is in or out as a whole, and on both sides alike, since its token decides.
    """
    if percent >= 100:
        return [(0, BUCKETS - 1)]
    rng = random.Random(seed)  # noqa: S311 (chance, not secrecy)
    width = BUCKETS // pieces
    taken = max(1, round(width * percent / 100))
    return [(first := piece * width + rng.randrange(width - taken + 1), first + taken - 1) for piece in range(pieces)]


def spread(parts: Iterable[tuple[int, int]], pieces: int) -> Iterator[tuple[int, int]]:
    """The same buckets in more and smaller ranges, to read several at once."""
    for first, last in parts:
        step = max(1, -(-(last - first + 1) // pieces))
        for start in range(first, last + 1, step):
            yield start, min(last, start + step - 1)
