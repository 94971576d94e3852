"""The rows after a row, as queries that Cassandra can answer. Pure.

CQL compares one column with a range; "after (a, b)" in an order of several columns, some descending, is a chain: equal a
and beyond b, then beyond a. Read one after the other they give the rest of a query's rows in its order, without a repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from projections.cassandra_table import CassandraTable
from read_api.literals import LiteralError, read_literal
from read_api.paging import foreign_page
from read_api.rendering import literal_text
from read_api.request import Bound, Query


def key_of(row: Sequence[Any], table: CassandraTable) -> tuple[str, ...]:
    """The clustering key of a row, whose columns are the table's, as texts."""
    first = len(table.partition_key)
    return tuple(
        literal_text(row[first + place], table.columns[clustering.column])
        for place, clustering in enumerate(table.clustering)
    )


def read_key(texts: Sequence[str], table: CassandraTable) -> tuple[Any, ...]:
    """The values of `key_of`'s texts; raises InvalidPageError for those of another declaration."""
    try:
        return tuple(
            read_literal(table.columns[clustering.column], text)
            for clustering, text in zip(table.clustering, texts, strict=True)
        )
    except (LiteralError, ValueError) as error:
        raise foreign_page() from error


def rest(query: Query, after: Sequence[Any], table: CassandraTable) -> list[Query]:
    """Queries whose rows, one query after the other, are those of `query` after the row with this clustering key."""
    fixed = len(query.equals)
    queries = []
    for place in range(len(table.clustering) - 1, fixed - 1, -1):
        forward = table.clustering[place].descending == query.reversed
        beyond = Bound(operator=">" if forward else "<", value=after[place])
        # The range's near end is behind us; its far end still holds, on the column that it is of.
        far = [bound for bound in query.bounds if (bound.operator[0] == "<") == forward] if place == fixed else []
        queries.append(replace(query, equals=tuple(after[:place]), bounds=(beyond, *far)))
    return queries
