"""The Cassandra token of a row's partition, computed here, so that Postgres's rows fall into the table's buckets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cassandra.metadata import Murmur3Token

from projections.cassandra_table import CassandraTable, cassandra_table
from projections.read_model import ReadModel
from projector.cassandra.encode import RowEncoder
from projector.cassandra.ring import routing_key
from projector.verify.checksum import bucket_of
from projector.verify.errors import SourceError

_HEAD = 5  # of an entry without a statement's id: kind, the id's length, the number of values

Row = tuple[Any, ...]


class Partitioner:
    """Of rows that begin with the key's columns."""

    def __init__(self, model: ReadModel) -> None:
        table = cassandra_table(model, "any")
        self._model = model
        self._width = len(model.partition_key)
        partition = CassandraTable(
            keyspace=table.keyspace,
            name=table.name,
            columns={name: table.columns[name] for name in model.partition_key},
            partition_key=model.partition_key,
            clustering=(),
        )
        self._encoder = RowEncoder(partition)

    def buckets(self, rows: Sequence[Row]) -> Iterator[int]:
        """The bucket of each row. Raises SourceError for a key that no table could hold."""
        width = self._width
        try:
            entries = self._encoder.bind_keys(b"", [row[:width] for row in rows])
        except ValueError as error:
            raise SourceError(
                f"read model {self._model.name}: the select() has a row whose key Cassandra can't hold: {error}"
            ) from error
        hash_ = Murmur3Token.hash_fn
        for entry in entries:
            yield bucket_of(hash_(routing_key(entry, _HEAD, width)))
