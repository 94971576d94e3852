"""Batches hold every row once, in order, within the bounds; rows of a partition meet."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projector.cassandra.batches import Bounds, batches, by_partition

BOUNDS = Bounds(rows=6, size=100, partitions=3, partition_rows=12, partition_size=200)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 120)), max_size=80),
    st.integers(1, 2),
    st.integers(0, 20),
)
def test_every_row_is_in_one_batch_within_its_bounds(
    rows: list[tuple[int, int, int]], width: int, overhead: int
) -> None:
    arranged = by_partition(rows, width)
    assert sorted(arranged) == sorted(rows)
    entries = [bytes(row[2]) for row in arranged]
    at = 0
    for first, last in batches(arranged, entries, width, overhead, BOUNDS):
        assert first == at
        at = last
        partitions = {row[:width] for row in arranged[first:last]}
        size = sum(len(entry) + overhead for entry in entries[first:last])
        if last - first == 1:
            continue
        if len(partitions) == 1:
            assert last - first <= BOUNDS.partition_rows
            assert size <= BOUNDS.partition_size
        else:
            assert last - first <= BOUNDS.rows
            assert size <= BOUNDS.size
            assert len(partitions) <= BOUNDS.partitions
    assert at == len(rows)


def test_rows_of_one_partition_stand_side_by_side() -> None:
    rows = [(n % 7, n) for n in range(100)]
    arranged = [row[0] for row in by_partition(rows, 1)]
    assert sum(a != b for a, b in pairwise(arranged)) == 6


def test_one_partition_fills_larger_batches() -> None:
    rows = [(1, n) for n in range(30)]
    assert list(batches(rows, [b"x"] * 30, 1, 0, BOUNDS)) == [(0, 12), (12, 24), (24, 30)]


@pytest.mark.parametrize("odd", [(1.5, "NaN"), (1, None)])
def test_keys_without_an_order_are_left_as_they_came(odd: tuple[object, ...]) -> None:
    rows = [(value, 1) for value in odd]
    assert list(by_partition(rows, 1)) == rows
