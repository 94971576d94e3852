"""Rows that a read model's table lacks because Cassandra refused them: found before rows are read, told with each reply.

    position, with the number of dead letters  ──▶  marks of this partition, only when there are any  ──▶  rows

A read of a partition that lacks rows is not answered by Cassandra: Postgres has them, and the reply names them; without
Postgres it is a `LacksRowsError` that names them. A worker sets a mark, and its number, before it publishes a position
that covers the change, and clears it after the row is there, so whoever looks after the position and before the rows misses none.
A feed's page is asked for the reader's partition, and for those of the authors whose entries are merged into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from command_api.lsn import Lsn
from projections.cassandra_table import CassandraTable
from projections.dead_letters import partition_digest, select_marks
from projections.values import Kind, ValueType
from read_api import instants
from read_api.problem import LacksRowsError
from read_api.store import Store

MOST_TOLD = 100
"""Of the rows that a reply names."""


class DeadLetters:
    """The marks of one projection."""

    def __init__(self, store: Store, keyspace: str, projection: str) -> None:
        self._store = store
        self._projection = projection
        self._of_partition = select_marks(keyspace, of_partition=True)
        self._of_table = select_marks(keyspace)

    async def check(self, table: CassandraTable, statement: str, values: Sequence[Any]) -> None:
        """Raise LacksRowsError when the partition that a statement reads with these values lacks rows of a table.

        Raises the store's ProblemErrors.
        """
        digest = partition_digest(await self._store.serialized(statement, values))
        name = table.stored or table.name
        found = await self._store.read(self._of_partition, (self._projection, name, digest))
        if found.rows:
            raise LacksRowsError(
                f"{table.name} lacks rows of this partition, which Cassandra refuses",
                dead_letters=[told(row, table) for row in found.rows[:MOST_TOLD]],
            )

    async def check_several(self, table: CassandraTable, statement: str, partitions: Sequence[Any]) -> None:
        """The same for several partitions of one key column."""
        name = table.stored or table.name
        found = await self._store.read(self._of_table, (self._projection, name))
        if not found.rows:
            return
        digests = {partition_digest(await self._store.serialized(statement, (value,))) for value in partitions}
        lacking = [row for row in found.rows if row[0] in digests]
        if lacking:
            raise LacksRowsError(
                f"{table.name} lacks rows that belong here, which Cassandra refuses",
                dead_letters=[told(row, table) for row in lacking[:MOST_TOLD]],
            )


def told(mark: Sequence[Any], table: CassandraTable) -> dict[str, Any]:
    """A mark as a reply has it: ``{"read_model", "key": {column: value} | null, "reason", "lsn"}``."""
    _partition, _row, key, reason, lsn, _since = mark
    values = msgspec.json.decode(key) if key is not None else None
    shown = None if values is None else {n: _shown(v, table.columns[n]) for n, v in zip(table.key, values, strict=True)}
    return {"read_model": table.name, "key": shown, "reason": reason, "lsn": str(Lsn(lsn))}


def _shown(value: Any, kind: ValueType) -> Any:
    """A key's value in replica form as `read_api.rendering` shows it."""
    if not isinstance(value, int):
        return value
    if kind.kind is Kind.BOOLEAN:
        return bool(value)
    if kind.kind is Kind.NUMERIC:
        return format(Decimal(value).scaleb(-(kind.scale or 0)), "f")
    convert = _INSTANTS.get(kind.kind)
    return value if convert is None else convert(value)


_INSTANTS: Mapping[Kind, Callable[[int], str]] = {
    Kind.DATE: instants.format_date,
    Kind.TIME: instants.format_time,
    Kind.TIMESTAMP: instants.format_timestamp,
    Kind.TIMESTAMPTZ: instants.format_timestamptz,
}
