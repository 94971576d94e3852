"""A query as the SQL of its read model: the declared select() as a subquery, restricted to the key. Pure.

Promised: the same columns, rows and order as the query gives on Cassandra, where the read model is up to date. The key's
restrictions stand outside of the select(), on its columns, where Postgres pushes them down as far as it can. A scheduled
read model is asked of its pseudo-table. Not promised: that it is cheap; the caller bounds its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql

from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from projections.refreshed import maintained
from read_api.request import Query
from read_api.source_values import comparison, equality, finisher, ordered, selected

# The other way of each operator: a bound of a descending column is passed in the other direction.
_AFTER = {False: ">", True: "<"}


class SourceQuery:
    """The SQL of one read model. columns: as the rows hold them, in the order of the Cassandra table."""

    def __init__(self, model: ReadModel) -> None:
        model = maintained(model)
        types = {str(column.name): column.type for column in model.select.selected_columns}
        table = cassandra_table(model, "any")
        self._kinds = table.columns
        # A time bucket is not asked for: the rows of all are in the order of the clustering key here.
        self._partition = [name for name in table.partition_key if model.bucket is None or name != model.bucket.column]
        self._clustering = table.clustering
        # "named" leaves percent signs as they are; psycopg, which is given parameters, wants them doubled.
        dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
        text = str(model.select.compile(dialect=dialect, compile_kwargs={"literal_binds": True})).replace("%", "%%")
        columns = ", ".join(selected(_column(name), kind, types[name]) for name, kind in self._kinds.items())
        self._all = f"SELECT {columns} FROM ({text}) AS v"
        self._finishers: list[tuple[int, Callable[[Any], Any]]] = [
            (place, finish) for place, kind in enumerate(self._kinds.values()) if (finish := finisher(kind)) is not None
        ]

    def select(self, query: Query, *, limit: int, after: Sequence[Any] | None = None) -> tuple[str, list[Any]]:
        """The statement and its parameters. after: the clustering values of the row before the first one wanted."""
        conditions = [
            equality(_column(name), self._kinds[name], value)
            for name, value in zip(self._partition, query.partition, strict=True)
        ]
        names = [clustering.column for clustering in self._clustering]
        conditions += [
            equality(_column(name), self._kinds[name], value) for name, value in zip(names, query.equals, strict=False)
        ]
        for bound in query.bounds:
            name = names[len(query.equals)]
            conditions.append(comparison(_column(name), self._kinds[name], bound.operator, bound.value))
        if after is not None:
            conditions.append(self._after(after, reversed_=query.reversed))
        text = f"{self._all} WHERE {' AND '.join(condition for condition, _ in conditions)}"
        if self._clustering:
            order = (
                f"{ordered(_column(c.column), self._kinds[c.column])}{' DESC' if c.descending != query.reversed else ''}"
                for c in self._clustering
            )
            text += f" ORDER BY {', '.join(order)}"
        parameters = [parameter for _, of_condition in conditions for parameter in of_condition]
        return f"{text} LIMIT {limit}", parameters

    def finish(self, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Rows as they come from the server, in the form of Cassandra's driver."""
        if not (rows and self._finishers):
            return [tuple(row) for row in rows]
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for place, finish in self._finishers:
            columns[place] = [None if value is None else finish(value) for value in columns[place]]
        return list(zip(*columns, strict=True))

    def _after(self, after: Sequence[Any], *, reversed_: bool) -> tuple[str, list[Any]]:
        """The rows beyond a row: the first column beyond its value, or equal and the second beyond, and so on."""
        alternatives: list[str] = []
        parameters: list[Any] = []
        equal: list[tuple[str, list[Any]]] = []
        for clustering, value in zip(self._clustering, after, strict=True):
            name, kind = _column(clustering.column), self._kinds[clustering.column]
            beyond = comparison(name, kind, _AFTER[clustering.descending != reversed_], value)
            parts = [*equal, beyond]
            alternatives.append(" AND ".join(part for part, _ in parts))
            parameters += [parameter for _, of_part in parts for parameter in of_part]
            equal.append(equality(name, kind, value))
        return f"({' OR '.join(alternatives)})", parameters


def _column(name: str) -> str:
    return f'v."{name}"'
