"""Dead letters: rows that Cassandra refuses, and the marks that say so beside the read models. Pure text and digests.

A row that can't be written is not silently missing: its key has a mark in `projection_dead_letters`, one partition a read
model's table, and the table's position says how many marks there are (`dead_letters`). Marks and numbers carry the LSN of
the batch like rows do, and are there before a position is published that covers it. So a reader who sees no dead letter beside
a position needs to look no further, and one who does asks whether the partition that it is about to read has any.

A partition is named by a digest of what readers name it by, serialized as CQL: both sides have these bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from projections.read_model import ReadModel

DEAD_LETTERS = "projection_dead_letters"
COLUMN = "dead_letters"
"""Of the table of positions: how many marks a read model's table has."""


def create_dead_letters(keyspace: str) -> str:
    """The table of marks.

    read_model: the name of the table that lacks the row, as in the table of positions. partition: `partition_digest`.
    row: a digest of the row's key. key: JSON of the key's values in replica form, null when it is too long to be kept.
    lsn: of the batch that could not write the row. since: the commit time of the first such batch, microseconds.
    """
    return (
        f'CREATE TABLE IF NOT EXISTS "{keyspace}"."{DEAD_LETTERS}" (projection text, read_model text, "partition" text,'
        ' "row" text, key text, reason text, lsn bigint, since bigint,'
        ' PRIMARY KEY ((projection, read_model), "partition", "row"))'
    )


def partition_digest(values: Iterable[bytes]) -> str:
    """Names a partition by the serialized values of `path_columns`."""
    digest = blake2b(digest_size=16)
    for value in values:
        digest.update(len(value).to_bytes(4, "big") + value)
    return digest.hexdigest()


def path_columns(model: ReadModel) -> tuple[str, ...]:
    """The partition-key columns that readers name: all but a time bucket, so one look tells of all buckets."""
    return tuple(name for name in model.partition_key if model.bucket is None or name != model.bucket.column)


def select_marks(keyspace: str, marker: str = "?", *, of_partition: bool = False) -> str:
    """SELECT of a table's marks (its markers: projection, read model), or of those of one partition (and its digest)."""
    where = f"projection = {marker} AND read_model = {marker}" + (
        f' AND "partition" = {marker}' if of_partition else ""
    )
    return f'SELECT "partition", "row", key, reason, lsn, since FROM "{keyspace}"."{DEAD_LETTERS}" WHERE {where}'
