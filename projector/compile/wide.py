"""A touch statement in slices: one parent row's change that touches many keys, worked off between later batches.

A parent's row may be put aside instead of its children's keys, because it only tells where to look: the children are
found again, in the order of their primary key, when a slice is worked off. That is right when the key does not depend
on the parent and a child's own change touches its keys without the parent (a left join, or a foreign key that the
database keeps): a child that has changed since, and is not found any more, was touched and written by that change, with
the parent as it was by then. Where this does not hold there is no `WideStatement`, and all keys are touched at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Table

from projections.values import Kind
from projector.compile.expression import Expression, equalities, identifier
from projector.compile.names import images_name, replica_name, touched_name
from projector.compile.relation import Occurrence, unique_keys

if TYPE_CHECKING:
    from projector.compile.analyse import Analysis


@dataclass(frozen=True, kw_only=True)
class WideStatement:
    """SQL with named parameters.

    parent: full name of the parent's table, whose images find the children. width: number of the parent's values, i0, i1, …
    cursor: number of the child's primary key columns: c0, … is where the last slice ended, e0, … where this one ends.
    probe: how many keys all images find, up to :n. images: the parent's distinct values. count: a parent's children.
    end: the last of :n children after the cursor. slice: touches the keys of the children after the cursor, up to the end;
    rest: of all after it. first_end, first_slice, whole: the same from the beginning.
    """

    parent: str
    width: int
    cursor: int
    probe: str
    images: str
    count: str
    first_end: str
    end: str
    first_slice: str
    slice: str
    rest: str
    whole: str


def wide_statement(
    analysis: Analysis, parent: Occurrence, child: Occurrence, terms: Sequence[Expression], found: str
) -> WideStatement | None:
    """The statement that finds children of a parent's images, in slices; None where it has to be taken whole.

    terms: the conditions of the statement; found: its FROM and WHERE.
    """
    if not isinstance(child.table, Table):
        return None
    given = {name for name, _ in equalities(tuple(terms), child.index)}
    if any(set(key) <= given for key in unique_keys(child.table)):
        return None  # a parent has one child
    read = [column for term in terms for column in term.columns() if column.occurrence == parent.index]
    if any(column.type.kind in (Kind.BYTES, Kind.FLOAT) for column in read):
        return None
    names = sorted({column.name for column in read})
    primary = [str(column.name) for column in child.table.primary_key.columns]

    def resolve(index: int, name: str) -> str:
        return f":i{names.index(name)}" if index == parent.index else f"{child.alias}.{identifier(name)}"

    where = " AND ".join(term.sql(resolve) for term in terms)
    of_child = f"FROM {replica_name(child.table.fullname)} AS {child.alias} WHERE {where}"
    columns = ", ".join(f"{child.alias}.{identifier(name)}" for name in primary)
    after = f"({columns}) > ({_parameters('c', primary)})"
    to_end = f"({columns}) <= ({_parameters('e', primary)})"
    end = f"SELECT {columns} {of_child}{{after}} ORDER BY {columns} LIMIT 1 OFFSET :n - 1"
    key = ", ".join(output.expression.sql(resolve) for output in analysis.key)
    touch = f"INSERT OR IGNORE INTO {touched_name(analysis.model.name)} SELECT {key} {of_child}{{after}}"
    return WideStatement(
        parent=parent.table.fullname,
        width=len(names),
        cursor=len(primary),
        probe=f"SELECT count(*) FROM (SELECT 1 FROM {found} LIMIT :n) AS found",
        images=f"SELECT DISTINCT {', '.join(map(identifier, names))} FROM {images_name(parent.table.fullname)}",
        count=f"SELECT count(*) {of_child}",
        first_end=end.format(after=""),
        end=end.format(after=f" AND {after}"),
        first_slice=touch.format(after=f" AND {to_end}"),
        slice=touch.format(after=f" AND {after} AND {to_end}"),
        rest=touch.format(after=f" AND {after}"),
        whole=touch.format(after=""),
    )


def _parameters(letter: str, names: Sequence[str]) -> str:
    return ", ".join(f":{letter}{number}" for number in range(len(names)))


def parameters(letter: str, values: Sequence[object]) -> dict[str, object]:
    """Values as the parameters i0, i1, …, c0, … or e0, …"""
    return {f"{letter}{number}": value for number, value in enumerate(values)}
