"""A query's shape as the text of its CQL statement. Pure.

The shape leaves the values out, so that a read model has a small, finite set of statements, each prepared once.
"""

from __future__ import annotations

from dataclasses import dataclass

from projections.cassandra_table import CassandraTable
from read_api.request import Query


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many clustering columns are equal, which operators bound the next one, and the direction."""

    equals: int = 0
    operators: tuple[str, ...] = ()
    reversed: bool = False

    @classmethod
    def of(cls, query: Query) -> Shape:
        """The shape of a query."""
        operators = tuple(bound.operator for bound in query.bounds)
        return cls(equals=len(query.equals), operators=operators, reversed=query.reversed)


def select_statement(table: CassandraTable, shape: Shape) -> str:
    """The SELECT of a shape; its markers take `Query.values`."""
    names = [clustering.column for clustering in table.clustering]
    where = [f'"{name}" = ?' for name in names[: shape.equals]]
    where += [f'"{names[shape.equals]}" {operator} ?' for operator in shape.operators]
    text = " AND ".join([table.select_partition(), *where])
    if shape.reversed:
        order = (f'"{c.column}" {"ASC" if c.descending else "DESC"}' for c in table.clustering)
        text += f" ORDER BY {', '.join(order)}"
    return text


def select_of_partitions(table: CassandraTable, shape: Shape) -> str:
    """The SELECT of a shape over several partitions of one column, each cut to a number of rows, in no order of partitions.

    Its markers take the list of partitions, `Query.values_after`, and the number. Forward only: Cassandra pages no other.
    """
    (partition,) = table.partition_key
    text = select_statement(table, shape).replace(f'WHERE "{partition}" = ?', f'WHERE "{partition}" IN ?')
    return f"{text} PER PARTITION LIMIT ?"
