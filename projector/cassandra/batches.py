"""Which rows go into one BATCH. Pure.

Rows of one call are brought together by partition, since Cassandra merges a batch's rows of one partition into one
mutation: about a fifth more rows/s where a partition had 1.6 rows of a call, and twice as many where it had 25.

Two kinds of batch follow. One that stays in a single partition is one mutation, which the server's batch thresholds
do not count: up to 200 rows (half as fast again as 30; 400 no faster) or 32 KiB (a guess that
keeps a resend small). One that spans
partitions stays below the server's defaults of both warnings, 10 partitions and 5 KiB: 30 partitions were no faster
within the noise (0.84 against 0.90 CPU seconds per 100,000 rows), and each batch of them would be warned about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from projector.cassandra.encode import Row


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The most that goes into a batch; a single row is never split.

    rows, size, partitions: of a batch across partitions. partition_rows, partition_size: of a batch inside one.
    Sizes are bytes as the server's batch thresholds count them (an upper bound).
    """

    rows: int = 30
    size: int = 4096
    partitions: int = 10
    partition_rows: int = 200
    partition_size: int = 32_768


def by_partition(rows: Sequence[Row], width: int) -> Sequence[Row]:
    """The rows with those of one partition side by side; `width` is the number of partition key columns."""
    if len(rows) < 2:
        return rows
    try:
        return sorted(rows, key=itemgetter(*range(width)))
    except TypeError:
        return rows  # a float key holds numbers and the text 'NaN', which have no order: batches are just less full


def batches(
    rows: Sequence[Row], entries: Sequence[bytes], width: int, overhead: int, bounds: Bounds
) -> Iterator[tuple[int, int]]:
    """Slices (first, last) of rows that `by_partition` arranged; `overhead` is added to each entry's length."""
    partition_of = itemgetter(*range(width))
    first = size = partitions = 0
    partition = None
    for index, row in enumerate(rows):
        added = len(entries[index]) + overhead
        own = partition_of(row)
        count, spanned = index - first, partitions + (own != partition or not partitions)
        size += added
        if spanned <= 1:
            full = count >= bounds.partition_rows or size > bounds.partition_size
        else:
            full = count >= bounds.rows or size > bounds.size or spanned > bounds.partitions
        if full and count:
            yield first, index
            first, size, spanned = index, added, 1
        partitions, partition = spanned, own
    if first < len(rows):
        yield first, len(rows)
