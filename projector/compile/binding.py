"""The proof that a key identifies a row of the select(), and the order of look-ups that the proof gives.

Starting from the key's values, an inner occurrence is *bound* once equalities give a value to every column of one of its
unique keys; a left join's occurrence once its own ON does. When all are bound, a key has at most one row, and the same
order reads that row with one unique look-up an occurrence. What is left unbound makes the key ambiguous: refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from projector.compile.analyse import Analysis
from projector.compile.errors import RefusedError, RefusedModelError
from projector.compile.expression import Column, equalities
from projector.compile.relation import Grouped, Occurrence, unique_keys


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """One bound occurrence and the columns of its unique key that find it."""

    occurrence: Occurrence
    columns: tuple[str, ...]


def bind(analysis: Analysis) -> tuple[Lookup, ...]:
    """Look-ups in binding order; raises RefusedModelError when the key doesn't identify a row."""
    known = {
        (output.expression.occurrence, output.expression.name)
        for output in analysis.key
        if isinstance(output.expression, Column)
    }
    bound: list[Lookup] = []
    open_occurrences = list(analysis.occurrences)
    while open_occurrences:
        found = _next(analysis, open_occurrences, bound, known)
        if found is None:
            raise RefusedModelError(analysis.model.name, _ambiguous(analysis, open_occurrences))
        open_occurrences.remove(found.occurrence)
        bound.append(found)
    return tuple(bound)


def _next(
    analysis: Analysis, candidates: list[Occurrence], bound: list[Lookup], known: set[tuple[int, str]]
) -> Lookup | None:
    indices = {lookup.occurrence.index for lookup in bound}
    for occurrence in candidates:
        if occurrence.optional:
            needed = frozenset[int]().union(*(term.occurrences() for term in occurrence.on)) - {occurrence.index}
            if not needed <= indices:
                continue
            given = {name for name, _ in equalities(occurrence.on, occurrence.index)}
        else:
            given = {name for index, name in known if index == occurrence.index}
            given |= {
                name
                for name, other in equalities(analysis.where, occurrence.index)
                if other.occurrences() <= indices
                or (isinstance(other, Column) and (other.occurrence, other.name) in known)
            }
        for key in unique_keys(occurrence.table):
            if set(key) <= given:
                return Lookup(occurrence=occurrence, columns=key)
    return None


def _ambiguous(analysis: Analysis, left: list[Occurrence]) -> RefusedError:
    first = left[0]
    if isinstance(first.table, Grouped):
        return RefusedError(
            f"the key ({', '.join(analysis.model.key)})",
            "does not identify a row of the select(): put every expression of the GROUP BY into the select() and the key",
        )
    columns = ", ".join(f"{first.table.name}.{name}" for name in unique_keys(first.table)[0])
    if first.optional:
        return RefusedError(
            f"LEFT JOIN {first.table.name}",
            "may find several rows: join it on its primary key, or make it an inner join with it in the key",
        )
    return RefusedError(
        f"the key ({', '.join(analysis.model.key)})",
        f"does not identify a row of the select(): add {columns} to the select() and the key",
    )
