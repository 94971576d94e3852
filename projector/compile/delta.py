"""What a batch adds to each group, as SQL over weighted images and current rows.

Images carry weights: a row as it was before the batch counts -1, as it is after it 1, and in between 0. With X the
relations after the batch and dX their weighted images, the rows that are grouped change by

    X1 ⋈ … ⋈ Xn  -  (X1 - dX1) ⋈ … ⋈ (Xn - dXn)  =  sum over the non-empty sets S of relations of
    (-1) ** (|S| + 1) * (dXi for i in S) ⋈ (Xj for the others)

so one statement a set S gives exact signed differences, and since rows of weight 0 take part, it also names every group
that any state within the batch had: all of them are touched, net change or not. A left join that finds at most one row
is linear too: its rows are those that match, and all rows null-extended, less those that match null-extended (`LOST`).
When it may find several, the last part is taken from the group of its distinct partners.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product

from projector.compile.agreement import compare
from projector.compile.expression import Column, Expression, Resolver, equalities, identifier
from projector.compile.names import WEIGHT, delta_name, images_name
from projector.compile.order import Source, from_items
from projector.compile.relation import ROWS, Grouped, GroupKey, Lookups, Measure, Occurrence, own_side, settled


class Face(Enum):
    """What an occurrence is in one statement; each that is lost, and each image beyond the first, turns the sign."""

    CURRENT = "current"
    IMAGES = "images"
    ABSENT = "absent"
    LOST = "lost"
    LOST_IMAGES = "lost images"


_MATCHING = (Face.CURRENT, Face.IMAGES)
_IMAGES = (Face.IMAGES, Face.LOST_IMAGES)
_LOST = (Face.LOST, Face.LOST_IMAGES)


@dataclass(frozen=True, kw_only=True)
class DeltaStatement:
    """tables: full names of the relations that must have images in the batch for the statement to be worth running."""

    sql: str
    tables: frozenset[str]
    looked_up: Lookups


def delta_statements(group: Grouped) -> tuple[DeltaStatement, ...]:
    """All statements of a group; raises RefusedError for a join without an equality."""
    several = group.partners
    faces = [tuple(Face) if o.optional else _MATCHING for o in group.occurrences]
    statements = [
        statement
        for choice in product(*faces)
        if any(face in _IMAGES for face in choice) and (statement := _statement(group, choice, several)) is not None
    ]
    return (*statements, *_counts(group))


def _counts(group: Grouped) -> Iterator[DeltaStatement]:
    """count(distinct …): entries that came or went."""
    width = len(group.keys)
    for distinct in group.distincts:
        keys = ", ".join(f"v.{identifier(key.name)}" for key in distinct.entries.keys[:width])
        columns = ", ".join(identifier(key.name) for key in group.keys)
        yield DeltaStatement(
            sql=f"INSERT INTO {delta_name(group.fullname)} ({columns}, {identifier(distinct.name)})"
            f" SELECT {keys}, SUM(v.{WEIGHT}) AS added FROM {images_name(distinct.entries.fullname)} AS v WHERE TRUE"
            f" GROUP BY {keys}"
            f" {_accumulate(group, (distinct.name,))}",
            tables=frozenset((distinct.entries.fullname,)),
            looked_up=(),
        )


def _statement(group: Grouped, faces: tuple[Face, ...], several: dict[int, Grouped]) -> DeltaStatement | None:
    absent = frozenset(index for index, face in enumerate(faces) if face is Face.ABSENT)
    lost = frozenset(index for index, face in enumerate(faces) if face in _LOST)
    owned: list[tuple[int, Expression]] = [(-1, term) for term in group.where]
    for occurrence in group.occurrences:
        if occurrence.index in lost and occurrence.index in several:
            owned += [(occurrence.index, term) for term in _found_partner(occurrence)]
        elif occurrence.index not in absent:
            owned += [(occurrence.index, term) for term in occurrence.on]
    if any(term.strict_in() & ((absent | lost) - {owner}) for owner, term in owned):
        return None  # a condition on a null-extended column: there are no such rows
    read: dict[int, set[str]] = {}

    def resolver(owner: int) -> Resolver:
        nulls = absent | (lost - {owner})

        def resolve(index: int, name: str) -> str:
            if index in nulls:
                return "NULL"
            read.setdefault(index, set()).add(name)
            return f"{group.occurrences[index].alias}.{identifier(name)}"

        return resolve

    imaged = [o for o in group.occurrences if faces[o.index] in _IMAGES]
    sign = 1 if (len(imaged) + len(lost)) % 2 else -1
    factors = [f"{o.alias}.{WEIGHT}" for o in imaged]
    conditions = []
    for owner, term in owned:
        if settled(term, group.occurrences) or (owner in lost and owner in several):
            conditions.append(term.sql(resolver(owner)))
        else:  # on another group's aggregate: no reason to leave a group untouched
            factors.append(f"({term.sql(resolver(owner))} IS TRUE)")
    weight = "-" * (sign < 0) + " * ".join(factors)
    keys = [key.expression.sql(resolver(-1)) for key in group.keys]
    conditions += [
        f"{key} IS NOT NULL" for key, at in zip(keys, group.keys, strict=True) if _may_be_null(at, absent | lost)
    ]
    sums = [_sum(weight, measure, measure.expression.sql(resolver(-1))) for measure in group.measures]
    if any(isinstance(o.table, Grouped) for o in group.occurrences):  # images that are just a key sum to NULL
        sums = [f"COALESCE({total}, 0)" for total in sums]
    sources = [
        Source(
            index=o.index,
            alias=o.alias,
            table=several[o.index].fullname if o.index in lost and o.index in several else o.table.fullname,
            images=faces[o.index] in _IMAGES,
        )
        for o in group.occurrences
        if o.index not in absent
    ]
    items, looked_up = from_items(sources, [term for _, term in owned], read, weighted=True)
    names = [key.name for key in group.keys] + [measure.name for measure in group.measures]
    return DeltaStatement(
        sql=f"INSERT INTO {delta_name(group.fullname)} ({', '.join(map(identifier, names))})"
        f" SELECT {', '.join([*keys, *sums])} FROM {items}"
        f" WHERE {' AND '.join(conditions) or 'TRUE'} GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}"
        f" {_accumulate(group, tuple(m.name for m in group.measures))}",
        tables=frozenset(source.table for source in sources if source.images),
        looked_up=looked_up,
    )


def _sum(weight: str, measure: Measure, value: str) -> str:
    if measure.name == ROWS:
        return f"SUM({weight})"
    if "pg_" not in value:
        return f"SUM({weight} * {value})"
    # A function may fail on a row; on one that was corrected before the batch ended it must not.
    return f"SUM(CASE {weight} WHEN 0 THEN 0 ELSE {weight} * {value} END)"


def _accumulate(group: Grouped, names: tuple[str, ...]) -> str:
    keys = ", ".join(identifier(key.name) for key in group.keys)
    return f"ON CONFLICT ({keys}) DO UPDATE SET " + ", ".join(
        f"{identifier(name)} = {identifier(name)} + excluded.{identifier(name)}" for name in names
    )


def _may_be_null(key: GroupKey, nulls: frozenset[int]) -> bool:
    return key.expression.nullable or bool(key.expression.occurrences() & nulls)


def _found_partner(occurrence: Occurrence) -> list[Expression]:
    """The left join's equalities, with the partners' group in the occurrence's place."""
    terms = []
    for number, term in enumerate(t for t in occurrence.on if equalities((t,), occurrence.index)):
        ((_, other),) = equalities((term,), occurrence.index)
        own = own_side(term, occurrence.index)
        column = Column(type=own.type, nullable=False, occurrence=occurrence.index, name=f"k{number}")
        terms.append(compare("=", column, other, None))
    return terms
