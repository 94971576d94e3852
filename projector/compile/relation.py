"""What a select() reads from: source tables, and groups of rows as relations of their own.

A `Grouped` relation has one row a group: its key, the number of rows behind it and *measures*, each the sum of an
integer expression over those rows. Sums are linear, so a change adds a signed difference whatever the group's size
(`projector.compile.delta`). What is not linear leans on a second grouped relation, of the group's distinct values:
min and max are its first and last entry, count(distinct) the number of its entries.

To the select() around it a `Grouped` relation is a table whose unique key is the group's key. Its other columns are
*unstable*: their values within a batch are not among its images, so they may be selected and filtered by, but neither
make a key nor find a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Column as SourceColumn
from sqlalchemy import Index, Table, UniqueConstraint

from projections.values import Kind, ValueType
from projector.compile.errors import RefusedError
from projector.compile.expression import Column, Conjunction, Constant, Expression, Operation, equalities, identifier

COUNT = ValueType(kind=Kind.INTEGER, bits=64)
ROWS = "n"
"""The state column that counts a group's rows."""
Lookups = tuple[tuple[str, tuple[str, ...]], ...]
"""(full name of a table, columns) of each look-up into current rows: an index that the replica needs."""


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One use of a relation in FROM.

    index: its place. alias: its name in generated SQL. table: the source table or grouped relation.
    optional: it is the right side of a left join, so its columns may be null-extended.
    on: the left join's own terms, empty for the others (theirs are in the WHERE).
    """

    index: int
    alias: str
    table: Table | Grouped
    optional: bool = False
    on: tuple[Expression, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GroupKey:
    """One expression of a GROUP BY; its values are never NULL in the state (no one can ask for such a group)."""

    name: str
    expression: Expression


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A state column that is the sum of an integer expression over the group's rows. what: the SQL, for messages."""

    name: str
    expression: Expression
    what: str


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """A state column that is the first (or last) key of `entries` within the group."""

    name: str
    type: ValueType
    entries: Grouped
    last: bool


@dataclass(frozen=True, kw_only=True)
class Distinct:
    """A state column that counts the entries of `entries` within the group."""

    name: str
    entries: Grouped


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """A relation with one row a group.

    fullname: names its tables; equal definitions have equal names, so read models share them.
    occurrences, where: the rows that are grouped. keys: GROUP BY. measures: the first counts rows.
    listed, looked_up: what documents of these rows read, beside the state (`projector.compile.listing`).
    """

    fullname: str
    occurrences: tuple[Occurrence, ...]
    where: tuple[Expression, ...]
    keys: tuple[GroupKey, ...]
    measures: tuple[Measure, ...]
    extremes: tuple[Extreme, ...] = ()
    distincts: tuple[Distinct, ...] = ()
    listed: tuple[Expression, ...] = ()
    looked_up: Lookups = ()

    @property
    def name(self) -> str:
        """For messages."""
        return self.fullname

    @property
    def entries(self) -> tuple[Grouped, ...]:
        """The relations of distinct values that it leans on."""
        found = [extreme.entries for extreme in self.extremes] + [distinct.entries for distinct in self.distincts]
        return tuple({entries.fullname: entries for entries in found}.values())

    @property
    def partners(self) -> dict[int, Grouped]:
        """For each left join that may find several rows: the group of its distinct partners, by the join's columns."""
        found = {}
        for occurrence in self.occurrences:
            if occurrence.optional:
                given = {name for name, _ in equalities(occurrence.on, occurrence.index)}
                if not any(set(key) <= given for key in unique_keys(occurrence.table)):
                    found[occurrence.index] = _partners(occurrence)
        return found

    def inner(self) -> Iterator[Grouped]:
        """Every grouped relation that must be brought up to date before this one, innermost first; with repeats."""
        for occurrence in self.occurrences:
            if isinstance(occurrence.table, Grouped):
                yield from occurrence.table.inner()
                yield occurrence.table
        yield from self.partners.values()
        yield from self.entries

    def expressions(self) -> Iterator[Expression]:
        """Every tree over the grouped rows."""
        yield from (key.expression for key in self.keys)
        yield from (measure.expression for measure in self.measures)
        yield from self.where
        yield from self.listed
        for occurrence in self.occurrences:
            yield from occurrence.on


def is_stable(table: Table | Grouped, column: str) -> bool:
    """Whether a column's every value within a batch is among the table's images."""
    return isinstance(table, Table) or any(key.name == column for key in table.keys)


def settled(expression: Expression, occurrences: tuple[Occurrence, ...]) -> bool:
    """Whether all columns below are stable."""
    return all(is_stable(occurrences[c.occurrence].table, c.name) for c in expression.columns())


def unique_keys(table: Table | Grouped) -> list[tuple[str, ...]]:
    """The column sets that identify a row by the table's metadata, the primary key first.

    Only NOT NULL columns count, and no partial or deferrable index.
    """
    if isinstance(table, Grouped):
        return [tuple(key.name for key in table.keys)]
    keys = [
        tuple(str(column.name) for column in constraint.columns)
        for constraint in (table.primary_key, *table.constraints)
        if constraint is table.primary_key or (isinstance(constraint, UniqueConstraint) and not constraint.deferrable)
    ]
    for index in table.indexes:
        if isinstance(index, Index) and index.unique and not index.dialect_options["postgresql"].get("where"):
            names = [str(column.name) for column in index.columns if isinstance(column, SourceColumn)]
            if len(names) == len(index.expressions):
                keys.append(tuple(names))
    return [keys[0], *(key for key in keys[1:] if all(not table.c[name].nullable for name in key))]


def definition(grouped: Grouped) -> str:
    """The relation's meaning as text, the same whatever statement it is part of."""

    def text(expression: Expression) -> str:
        return expression.sql(lambda index, name: f"o{index}.{identifier(name)}")

    parts = [
        " ".join(
            f"{o.table.fullname}{' optional on ' + ' and '.join(map(text, o.on)) if o.optional else ''}"
            for o in grouped.occurrences
        ),
        " and ".join(sorted(map(text, grouped.where))),
        ", ".join(f"{text(key.expression)} {key.expression.type.sqlite}" for key in grouped.keys),
        ", ".join(text(measure.expression) for measure in grouped.measures),
        ", ".join(f"{e.name} {e.last} {e.entries.fullname}" for e in grouped.extremes),
        ", ".join(f"{e.name} {e.entries.fullname}" for e in grouped.distincts),
    ]
    return "\n".join(parts)


def named(grouped: Grouped) -> Grouped:
    """The relation under the name that its definition gives it."""
    tables = ", ".join(
        o.table.fullname if isinstance(o.table, Table) else f"({o.table.fullname})" for o in grouped.occurrences
    )
    digest = hashlib.sha256(definition(grouped).encode()).hexdigest()[:12]
    return replace(grouped, fullname=f"groups of {tables} {digest}")


def _partners(occurrence: Occurrence) -> Grouped:
    """The distinct values of the columns that a left join is made by, of rows that its other conditions allow."""
    table = occurrence.table
    equal = [term for term in occurrence.on if equalities((term,), occurrence.index)]
    own = [term for term in occurrence.on if term not in equal]
    if any(term.occurrences() != {occurrence.index} for term in own) or not equal or not isinstance(table, Table):
        raise RefusedError(
            f"LEFT JOIN {table.fullname}",
            "which may find several rows, is joined by equalities and conditions of its own columns only here:"
            " group it in a subquery and join that",
        )
    keys = tuple(
        GroupKey(name=f"k{number}", expression=_moved(own_side(term, occurrence.index)))
        for number, term in enumerate(equal)
    )
    one = Constant(type=COUNT, nullable=False, value=1)
    return named(
        Grouped(
            fullname="",
            occurrences=(Occurrence(index=0, alias="o0", table=table),),
            where=tuple(_moved(term) for term in own),
            keys=keys,
            measures=(Measure(name=ROWS, expression=one, what="count(*)"),),
        )
    )


def own_side(term: Expression, index: int) -> Column:
    """The occurrence's column in an equality with it."""
    assert isinstance(term, Operation), "an equality"
    left, right = term.arguments
    side = left if isinstance(left, Column) and left.occurrence == index else right
    assert isinstance(side, Column), "an equality with a column of the occurrence"
    return side


def _moved(expression: Expression) -> Expression:
    """A tree over one relation, as the only one of a FROM."""
    if isinstance(expression, Column):
        return replace(expression, occurrence=0)
    if isinstance(expression, Operation):
        return replace(expression, arguments=tuple(_moved(part) for part in expression.arguments))
    if isinstance(expression, Conjunction):
        return replace(expression, terms=tuple(_moved(part) for part in expression.terms))
    return expression
