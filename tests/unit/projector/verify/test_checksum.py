"""Checksums: no order matters, every difference shows in its bucket, and buckets cover the ring without overlap."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from projector.verify.checksum import BUCKETS, Checksums, bucket_of, ranges, sample, spread, tokens_of

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
BUCKET = st.integers(0, BUCKETS - 1)


@given(BUCKET, BUCKET)
def test_ranges_of_buckets_are_ranges_of_tokens(one: int, other: int) -> None:
    first, last = sorted((one, other))
    low, high = tokens_of(first, last)
    assert (bucket_of(low), bucket_of(high)) == (first, last)
    assert low == LOWEST or bucket_of(low - 1) == first - 1
    assert high == HIGHEST or bucket_of(high + 1) == last + 1


def test_the_ends_of_the_ring() -> None:
    assert tokens_of(0, BUCKETS - 1) == (LOWEST, HIGHEST)


def test_rows_in_any_order_are_equal_and_one_that_differs_is_found_in_its_bucket() -> None:
    rng = random.Random(4)
    rows = [(rng.randrange(BUCKETS), (i, "text", None, 1.5, b"\x00")) for i in range(2_000)]
    other = rows[:]
    rng.shuffle(other)
    sums = Checksums()
    for bucket, row in rows:
        sums.expect(bucket, row)
    for bucket, row in other:
        sums.find(bucket, row)
    assert sums.differing() == []
    assert (sums.expected_rows, sums.found_rows) == (2_000, 2_000)
    bucket, row = rows[7]
    sums.find(bucket, (*row[:-1], b"\x01"))
    sums.expect(bucket, row)
    assert sums.differing() == [bucket]


def test_values_of_other_types_or_in_other_columns_differ() -> None:
    for one, other in (
        ((1, "1"), ("1", 1)),
        ((None, ""), ("", None)),
        ((1.0,), (1,)),
        ((b"a",), ("a",)),
        ((True,), (1,)),
    ):
        sums = Checksums()
        sums.expect(5, one)
        sums.find(5, other)
        assert sums.differing() == [5], (one, other)


@given(st.sets(BUCKET, min_size=1, max_size=50), st.integers(1, 20))
def test_few_ranges_hold_all_buckets_in_order(buckets: set[int], most: int) -> None:
    found = ranges(buckets, most)
    assert len(found) <= most
    assert all(first <= last for first, last in found)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all(any(first <= bucket <= last for first, last in found) for bucket in buckets)
    assert {found[0][0], found[-1][1]} <= buckets
    if most >= len(buckets):
        assert sum(last - first + 1 for first, last in found) == len(buckets)


@given(st.floats(0.01, 100), st.integers(0, 1 << 31), st.integers(1, 9))
def test_a_sample_is_its_share_and_spread_keeps_it(percent: float, seed: int, pieces: int) -> None:
    parts = sample(percent, seed)
    taken = sum(last - first + 1 for first, last in parts)
    assert abs(taken / BUCKETS * 100 - percent) <= 0.025
    buckets = [bucket for first, last in parts for bucket in (first, last)]
    assert buckets == sorted(buckets)
    pieces_of = list(spread(parts, pieces))
    assert sum(last - first + 1 for first, last in pieces_of) == taken
    assert all(first <= last for first, last in pieces_of)
