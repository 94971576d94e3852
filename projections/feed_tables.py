"""The tables beside a feed's own: its hot authors, and its readers whose partition is not whole. Pure.

A row's existence is all that it says; it is written and deleted with the LSN timestamp of a batch, as any row is. All
hot authors are one small partition, read with every page; a skipped reader is a partition of its own.
"""

from __future__ import annotations

from projections.cassandra_table import CassandraTable
from projections.fan_out import hot_table, skipped_table
from projections.read_model import Clustering, ReadModel
from projections.values import Kind, ValueType

SHARD = 0
"""The one partition of hot authors."""


def hot_authors(model: ReadModel, keyspace: str) -> CassandraTable:
    """``<model>__hot``: (shard int, author). Raises ValueError for a read model without fan_out."""
    if model.fan_out is None:
        raise ValueError(f"{model.name} has no fan_out")
    author = model.columns[model.fan_out.author]
    return CassandraTable(
        keyspace=keyspace,
        name=hot_table(model.name),
        columns={"shard": ValueType(kind=Kind.INTEGER, bits=32), "author": author},
        partition_key=("shard",),
        clustering=(Clustering(column="author"),),
    )


def skipped_readers(model: ReadModel, keyspace: str) -> CassandraTable:
    """``<model>__skipped``: (reader)."""
    (reader,) = model.partition_key
    return CassandraTable(
        keyspace=keyspace,
        name=skipped_table(model.name),
        columns={"reader": model.columns[reader]},
        partition_key=("reader",),
        clustering=(),
    )


def tables_beside(model: ReadModel, keyspace: str) -> tuple[CassandraTable, ...]:
    """Both, for a feed; none for any other read model."""
    return () if model.fan_out is None else (hot_authors(model, keyspace), skipped_readers(model, keyspace))
