"""The tables in Cassandra beside a feed's own: what its readers must know before they read copies. Pure text, as ever.

    <feed>__hot (shard, author)    authors whose entries are merged at read time, all in the partition SHARD
    <feed>__skipped (reader)       readers whose partition is not whole

A row's existence is all it says. Rows are written and deleted with the log position as their timestamp, like all others.
"""

from __future__ import annotations

from projections.cassandra_table import CassandraTable
from projections.fan_out import hot_table, skipped_table
from projections.read_model import Clustering, ReadModel
from projections.values import Kind, ValueType

SHARD = 0
_INT = ValueType(kind=Kind.INTEGER, bits=32)


def hot_authors_table(model: ReadModel, keyspace: str, stored: str = "") -> CassandraTable:
    """The table of a feed's hot authors."""
    assert model.fan_out is not None, "a feed"
    return CassandraTable(
        keyspace=keyspace,
        name=hot_table(model.name),
        columns={"shard": _INT, "author": model.columns[model.fan_out.author]},
        partition_key=("shard",),
        clustering=(Clustering(column="author"),),
        stored=hot_table(stored) if stored else "",
    )


def skipped_readers_table(model: ReadModel, keyspace: str, stored: str = "") -> CassandraTable:
    """The table of readers whose partition of a feed is not whole."""
    (reader,) = model.partition_key
    return CassandraTable(
        keyspace=keyspace,
        name=skipped_table(model.name),
        columns={"reader": model.columns[reader]},
        partition_key=("reader",),
        clustering=(),
        stored=skipped_table(stored) if stored else "",
    )


def feed_tables(model: ReadModel, keyspace: str, stored: str = "") -> tuple[CassandraTable, ...]:
    """All tables beside a read model's own; none when it is no feed. stored: of the generation that they belong to."""
    if model.fan_out is None:
        return ()
    return hot_authors_table(model, keyspace, stored), skipped_readers_table(model, keyspace, stored)
