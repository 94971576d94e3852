"""A touch statement in slices: one parent row's change that touches many keys, worked off between later batches.

A parent's row may be put aside instead of its children's keys, because it only tells where to look: the children are
found again, in the order of their primary key, when a slice is worked off. Where it leads to them over several tables,
that is the order of all those of which it finds many rows, so that an author's entries times their readers are cut too; a
slice is all between two places of that order, and larger than asked for where SQLite finds rows in another. That is right when the key does not depend
on the parent and a child's own change touches its keys without the parent (a left join, or a foreign key that the
database keeps): a child that has changed since, and is not found any more, was touched and written by that change, with
the parent as it was by then. Where this does not hold there is no `WideStatement`, and all keys are touched at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Table

from projections.values import Kind, value_type
from projector.compile.expression import Column, Expression, equalities, identifier
from projector.compile.names import replica_name, touched_name
from projector.compile.order import Source, in_order
from projector.compile.relation import unique_keys

if TYPE_CHECKING:
    from projector.compile.analyse import Analysis


@dataclass(frozen=True, kw_only=True)
class WideStatement:
    """SQL with named parameters.

    parent: full name of the parent's table, whose images find the children by its values, i0, i1, … In the order of those
    tables' primary keys, c0, … is where the last slice ended, e0, … where this one ends.
    probe: how many keys all images find, up to :n. images: the parent's distinct values. count: a parent's children.
    end: the last of :n children after the cursor. slice: touches the keys of the children after the cursor, up to the end;
    rest: of all after it. first_end, first_slice, whole: the same from the beginning. parents: of the touched keys, as JSON
    arrays of i0, …; None unless a parent has one key, and the key tells which parent that is.
    """

    parent: str
    probe: str
    images: str
    count: str
    first_end: str
    end: str
    first_slice: str
    slice: str
    rest: str
    whole: str
    parents: str | None


def wide_statement(
    analysis: Analysis,
    sources: Sequence[Source],
    terms: Sequence[Expression],
    found: str,
    *,
    single: bool = False,
    copied: tuple[Callable[[str], str], Expression] | None = None,
) -> WideStatement | None:
    """The statement that finds children of a parent's images, in slices; None where it has to be taken whole.

    sources: the parent, as images, and all others as current rows, which are looked up one by the other. terms: the
    conditions of the statement; found: its FROM and WHERE. single: also when a parent has one child. copied: a condition
    beyond them, of an expression over the sources.
    """
    (parent, _), *children = in_order(sources, terms)
    read = [column for term in terms for column in term.columns() if column.occurrence == parent.index]
    if any(column.type.kind in (Kind.BYTES, Kind.FLOAT) for column in read):
        return None
    several = [at for at, (child, links) in enumerate(children) if not _is_one(analysis, child, links)]
    if not several and not single:
        return None
    cursors = [analysis.occurrences[children[at][0].index] for at in several or [0]]
    names = sorted({column.name for column in read})
    keys = []
    for cursor in cursors:
        if not isinstance(cursor.table, Table):
            return None
        primary = unique_keys(cursor.table)[0]
        if any(value_type(cursor.table.columns[name].type).kind is Kind.BYTES for name in primary):
            return None  # a place is kept as JSON
        keys.append([f"{cursor.alias}.{identifier(name)}" for name in primary])
    present = {source.index for source in sources}

    def resolve(index: int, name: str) -> str:
        if index == parent.index:
            return f":i{names.index(name)}"
        return f"{analysis.occurrences[index].alias}.{identifier(name)}" if index in present else "NULL"

    def joined(among: Sequence[Source]) -> str:
        """FROM and WHERE of some of the children."""
        there = {parent.index, *(child.index for child in among)}
        conditions = [term.sql(resolve) for term in terms if term.occurrences() & present <= there]
        if copied is not None and copied[1].occurrences() <= there:
            conditions.append(copied[0](copied[1].sql(resolve)))
        items = " CROSS JOIN ".join(f"{replica_name(child.table)} AS {child.alias}" for child in among)
        return f"FROM {items} WHERE {' AND '.join(conditions)}"

    of_cursor = joined([child for child, _ in children[: max(several, default=0) + 1]])
    of_all = joined([child for child, _ in children])
    columns = ", ".join(column for key in keys for column in key)
    after, to_end = _beyond(keys, ">", ">", "c"), _beyond(keys, "<", "<=", "e")
    # Over several tables SQLite would sort what its loops give in this order anyway. A slice is all between two cursors,
    # so that no row depends on their order: only how many there are does.
    order = f" ORDER BY {columns}" if len(keys) == 1 else ""
    end = f"SELECT {columns} {of_cursor}{{after}}{order} LIMIT 1 OFFSET :n - 1"
    key = ", ".join(output.expression.sql(resolve) for output in analysis.key)
    touch = f"INSERT OR IGNORE INTO {touched_name(analysis.model.name)} SELECT {key} {of_all}{{after}}"
    return WideStatement(
        parent=parent.table,
        probe=f"SELECT count(*) FROM (SELECT 1 FROM {found} LIMIT :n) AS found",
        images=f"SELECT DISTINCT {', '.join(map(identifier, names))} FROM {parent.imaged}",
        count=f"SELECT count(*) {of_all}",
        first_end=end.format(after=""),
        end=end.format(after=f" AND {after}"),
        first_slice=touch.format(after=f" AND {to_end}"),
        slice=touch.format(after=f" AND {after} AND {to_end}"),
        rest=touch.format(after=f" AND {after}"),
        whole=touch.format(after=""),
        parents=_parents(analysis, parent.index, names, terms),
    )


def _parents(analysis: Analysis, parent: int, names: Sequence[str], terms: Sequence[Expression]) -> str | None:
    """See `WideStatement.parents`."""
    at = {
        (output.expression.occurrence, output.expression.name): output.name
        for output in analysis.key
        if isinstance(output.expression, Column)
    }
    equal = {
        name: at[other.occurrence, other.name]
        for name, other in equalities(tuple(terms), parent)
        if isinstance(other, Column) and (other.occurrence, other.name) in at
    }
    if equal.keys() != set(names) or set(equal.values()) != set(analysis.model.key):
        return None
    values = ", ".join(f"k.{identifier(equal[name])}" for name in names)
    return f"SELECT json_array({values}) FROM {touched_name(analysis.model.name)} AS k"


def _is_one(analysis: Analysis, child: Source, links: tuple[str, ...]) -> bool:
    """Whether the rows before it find one row of a child at most."""
    return any(set(key) <= set(links) for key in unique_keys(analysis.occurrences[child.index].table))


def _beyond(keys: Sequence[Sequence[str]], strictly: str, finally_: str, letter: str, first: int = 0) -> str:
    """Keys of several tables, compared with parameters as one; the first one's range alone is what an index serves."""
    columns = ", ".join(keys[0])
    values = ", ".join(f":{letter}{first + number}" for number in range(len(keys[0])))
    if len(keys) == 1:
        return f"({columns}) {finally_} ({values})"
    rest = _beyond(keys[1:], strictly, finally_, letter, first + len(keys[0]))
    return f"({columns}) {strictly}= ({values}) AND (({columns}) {strictly} ({values}) OR {rest})"


def parameters(letter: str, values: Sequence[object]) -> dict[str, object]:
    """Values as the parameters i0, i1, …, c0, … or e0, …"""
    return {f"{letter}{number}": value for number, value in enumerate(values)}
