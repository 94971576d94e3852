"""The read model's rows for the touched keys, as SQL over the replica's current rows.

Two statements: *present* gives the whole rows, columns in the Cassandra table's order; *absent* gives the touched keys
that have no row and are to be deleted. Both start from the touched keys and follow the look-ups of the binding proof,
so neither ever scans a replica table.
"""

from __future__ import annotations

from dataclasses import dataclass

from projector.compile.analyse import Analysis
from projector.compile.binding import Lookup
from projector.compile.expression import Column, Expression, Resolver, equalities, identifier
from projector.compile.names import replica_name, touched_name


@dataclass(frozen=True, kw_only=True)
class RecomputeStatements:
    """present: rows of (key columns, other columns). absent: rows of key columns.

    looked_up: (full table name, unique columns) of every look-up that is not by primary key.
    """

    present: str
    absent: str
    looked_up: tuple[tuple[str, tuple[str, ...]], ...]


def recompute_statements(analysis: Analysis, lookups: tuple[Lookup, ...]) -> RecomputeStatements:
    """The statements of a read model whose binding is proved."""

    def resolve(index: int, name: str) -> str:
        return f"{analysis.occurrences[index].alias}.{identifier(name)}"

    key_terms = [f"{output.expression.sql(resolve)} = k.{identifier(output.name)}" for output in analysis.key]
    where = [*key_terms, *(term.sql(resolve) for term in analysis.where)]
    inner, outer = f"{touched_name(analysis.model.name)} AS k", f"{touched_name(analysis.model.name)} AS k"
    bound: set[int] = set()
    for lookup in lookups:
        occurrence = lookup.occurrence
        source = f"{replica_name(occurrence.table.fullname)} AS {occurrence.alias}"
        if occurrence.optional:
            on = " AND ".join(term.sql(resolve) for term in occurrence.on)
            inner += f" LEFT JOIN {source} ON {on}"
            outer += f" LEFT JOIN {source} ON {on}"
        else:
            inner += f" CROSS JOIN {source}"
            outer += f" LEFT JOIN {source} ON " + " AND ".join(_found_by(analysis, lookup, bound, resolve))
        bound.add(occurrence.index)
    names = set(analysis.model.key)
    key = ", ".join(f"k.{identifier(name)}" for name in analysis.model.key)
    others = "".join(f", {output.expression.sql(resolve)}" for output in analysis.outputs if output.name not in names)
    there = [
        f"{lookup.occurrence.alias}.{identifier(lookup.columns[0])} IS NOT NULL"
        for lookup in lookups
        if not lookup.occurrence.optional
    ]
    return RecomputeStatements(
        present=f"SELECT {key}{others} FROM {inner} WHERE {' AND '.join(where)}",
        absent=f"SELECT {key} FROM {outer} WHERE ({' AND '.join([*there, *where])}) IS NOT TRUE",
        looked_up=tuple((lookup.occurrence.table.fullname, lookup.columns) for lookup in lookups),
    )


def _found_by(analysis: Analysis, lookup: Lookup, bound: set[int], resolve: Resolver) -> list[str]:
    """The equalities that give each column of the look-up's unique key a value."""
    index = lookup.occurrence.index
    terms = []
    for name in lookup.columns:
        column = f"{lookup.occurrence.alias}.{identifier(name)}"
        terms.append(f"{column} = {_value_of(analysis, index, name, bound, resolve)}")
    return terms


def _value_of(analysis: Analysis, index: int, name: str, bound: set[int], resolve: Resolver) -> str:
    for output in analysis.key:
        if isinstance(output.expression, Column) and (output.expression.occurrence, output.expression.name) == (
            index,
            name,
        ):
            return f"k.{identifier(output.name)}"
    given: list[Expression] = [other for column, other in equalities(analysis.where, index) if column == name]
    for other in given:
        if other.occurrences() <= bound:
            return other.sql(resolve)
    for other in given:
        for output in analysis.key:
            key = output.expression
            if (
                isinstance(key, Column)
                and isinstance(other, Column)
                and (key.occurrence, key.name) == (other.occurrence, other.name)
            ):
                return f"k.{identifier(output.name)}"
    raise AssertionError(f"{analysis.model.name}: the binding proof has no value for {name}")
