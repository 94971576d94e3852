"""Which keys of a read model a batch may have changed, as SQL over images and current rows.

Let a batch have images (rows before and after each event) of some source tables. A statement stands for one choice of
what each occurrence is: its table's images, its current rows, or nothing (a left join's null-extended row); together
they give every key that any state before, within or after the batch can have had, for every combination of states of
the joined rows. A superset is harmless, a missed key is a wrong table; so terms are only ever dropped.

A left join's image that stands alone says two things: a row had, or has, this partner; and it had, or will have, none.
For the second a statement finds the row through the image and takes the key's null-extended form (`LOST`).

Images that are joined to other rows are taken once for each distinct set of the values that the statement reads: a row
that changes a hundred times in a batch finds its partners once, not a hundred times.

One statement per combination instead of a UNION ALL of images and current rows inside a join, because SQLite
materializes such a union by scanning the table as soon as two of them meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product

from sqlalchemy import ForeignKeyConstraint, Table

from projector.compile.analyse import Analysis, Occurrence, unique_keys
from projector.compile.binding import equalities
from projector.compile.errors import RefusedError, RefusedModelError
from projector.compile.expression import Column, Expression, Resolver, identifier
from projector.compile.names import images_name, replica_name, touched_name


class Part(Enum):
    """What an occurrence is in one statement."""

    IMAGES = "images"
    CURRENT = "current"
    ABSENT = "absent"  # null-extended, or left out because its presence can't add or move a key
    LOST = "lost"  # images that find the rows they are joined to, null-extended: they came or went in this batch


@dataclass(frozen=True, kw_only=True)
class TouchStatement:
    """tables: full names of the tables that must have images in the batch for the statement to be worth running.

    looked_up: (full table name, columns) for each look-up into current rows: an index that the replica needs.
    """

    sql: str
    tables: frozenset[str]
    looked_up: tuple[tuple[str, tuple[str, ...]], ...]


def touch_statements(analysis: Analysis) -> tuple[TouchStatement, ...]:
    """All statements of a read model; raises RefusedModelError for a join without an equality."""
    statements = {}
    for parts in _choices(analysis):
        statement = _statement(analysis, parts)
        if statement is not None:
            statements[statement.sql] = statement
    return tuple(statements.values())


def _choices(analysis: Analysis) -> Iterator[tuple[Part, ...]]:
    """Every choice that no other makes superfluous."""
    droppable = {o.index for o in analysis.occurrences if o.optional or _is_plain_parent(analysis, o)}
    kinds = [
        (Part.IMAGES, Part.CURRENT, Part.ABSENT) if o.index in droppable else (Part.IMAGES, Part.CURRENT)
        for o in analysis.occurrences
    ]
    in_key = frozenset[int]().union(*(output.expression.occurrences() for output in analysis.key))
    keyed = in_key & {o.index for o in analysis.occurrences if o.optional}
    for parts in product(*kinds):
        imaged = {index for index, part in enumerate(parts) if part is Part.IMAGES}
        if imaged and not any(
            index in droppable
            and parts[index] is not Part.ABSENT
            and imaged - {index}
            and not _needed(analysis, parts, index)
            for index in range(len(parts))
        ):
            yield parts
            if len(imaged) == 1 and (index := min(imaged)) in keyed:
                yield (*parts[:index], Part.LOST, *parts[index + 1 :])


def _needed(analysis: Analysis, parts: tuple[Part, ...], index: int) -> bool:
    """Whether the key, or the condition of another occurrence that takes part, refers to this one."""
    if any(index in output.expression.occurrences() for output in analysis.key):
        return True
    if not analysis.occurrences[index].optional:
        return False
    return any(
        index in term.occurrences()
        for other in analysis.occurrences
        if other.index != index and parts[other.index] is not Part.ABSENT
        for term in other.on
    )


def _is_plain_parent(analysis: Analysis, occurrence: Occurrence) -> bool:
    """An inner join that only looks up the row that a foreign key says is there: leaving it out adds no wasted key."""
    terms = [term for term in analysis.where if occurrence.index in term.occurrences()]
    if any(occurrence.index in term.occurrences() for other in analysis.occurrences for term in other.on):
        return False
    if any(occurrence.index in output.expression.occurrences() for output in analysis.key):
        return False
    pairs = equalities(tuple(terms), occurrence.index)
    if len(pairs) != len(terms) or {name for name, _ in pairs} != set(unique_keys(occurrence.table)[0]):
        return False
    children = {other.occurrence for _, other in pairs if isinstance(other, Column)}
    if len(children) != 1 or len(pairs) != sum(isinstance(other, Column) for _, other in pairs):
        return False
    child = analysis.occurrences[children.pop()]
    wanted = {(other.name, name) for name, other in pairs if isinstance(other, Column)}
    return not child.optional and any(
        {(element.parent.name, element.column.name) for element in constraint.elements} == wanted
        and constraint.elements[0].column.table.fullname == occurrence.table.fullname
        and all(not child.table.c[name].nullable for name, _ in wanted)
        for constraint in child.table.constraints
        if isinstance(constraint, ForeignKeyConstraint)
    )


def _statement(analysis: Analysis, parts: tuple[Part, ...]) -> TouchStatement | None:
    absent = frozenset(index for index, part in enumerate(parts) if part is Part.ABSENT)
    lost = frozenset(index for index, part in enumerate(parts) if part is Part.LOST)
    optional = frozenset(o.index for o in analysis.occurrences if o.optional)
    dropped = absent - optional
    owned = [(-1, t) for t in analysis.where if not t.occurrences() & (optional | dropped)]
    owned += [(o.index, t) for o in analysis.occurrences if o.index not in absent for t in o.on]
    if any(term.strict_in() & ((absent | lost) - {owner}) for owner, term in owned):
        return None  # an equality with a null-extended column finds nothing

    def resolver(owner: int) -> Resolver:
        """How columns are seen from an occurrence's own ON: only there is a lost one's row still to be seen."""
        nulls = absent | (lost - {owner})

        def resolve(index: int, name: str) -> str:
            if index in nulls:
                return "NULL"
            read.setdefault(index, set()).add(name)
            return f"{analysis.occurrences[index].alias}.{identifier(name)}"

        return resolve

    read: dict[int, set[str]] = {}
    key = ", ".join(output.expression.sql(resolver(-1)) for output in analysis.key)
    where = " AND ".join(term.sql(resolver(owner)) for owner, term in owned)
    sources, looked_up = _join_order(analysis, parts, absent, [term for _, term in owned], read)
    return TouchStatement(
        sql=f"INSERT OR IGNORE INTO {touched_name(analysis.model.name)} SELECT {key} FROM {' CROSS JOIN '.join(sources)}"
        + (f" WHERE {where}" if where else ""),
        tables=frozenset(
            analysis.occurrences[index].table.fullname
            for index, part in enumerate(parts)
            if part in (Part.IMAGES, Part.LOST)
        ),
        looked_up=tuple(looked_up),
    )


def _join_order(
    analysis: Analysis,
    parts: tuple[Part, ...],
    absent: frozenset[int],
    terms: list[Expression],
    read: dict[int, set[str]],
) -> tuple[list[str], list[tuple[str, tuple[str, ...]]]]:
    """FROM items, an image first and each next one linked to the ones before; and the columns each is looked up by."""
    waiting = [o for o in analysis.occurrences if o.index not in absent]
    first = next(o for o in waiting if parts[o.index] in (Part.IMAGES, Part.LOST))
    waiting.remove(first)
    distinct = read.get(first.index, set()) if waiting else set()
    sources, looked_up, bound = [_source(first.table, first.alias, Part.IMAGES, distinct)], [], {first.index}
    while waiting:
        linked = [(o, links) for o in waiting if (links := _links(tuple(terms), o.index, bound))]
        if not linked:
            raise RefusedModelError(
                analysis.model.name,
                RefusedError(
                    f"the join with {waiting[0].table.name}", "needs an equality with a column of the other tables"
                ),
            )
        following, links = max(linked, key=lambda pair: parts[pair[0].index] is Part.CURRENT)
        columns = read.get(following.index, set())
        sources.append(_source(following.table, following.alias, parts[following.index], columns))
        if parts[following.index] is Part.CURRENT:
            looked_up.append((following.table.fullname, links))
        bound.add(following.index)
        waiting.remove(following)
    return sources, looked_up


def _links(terms: tuple[Expression, ...], index: int, bound: set[int]) -> tuple[str, ...]:
    """Columns of an occurrence that equalities with bound ones give, in name order."""
    return tuple(
        sorted(
            {name for name, other in equalities(terms, index) if other.occurrences() and other.occurrences() <= bound}
        )
    )


def _source(table: Table, alias: str, part: Part, distinct: set[str]) -> str:
    """A FROM item; of images, the distinct values of some columns, or all rows when none are named."""
    if part is not Part.IMAGES:
        return f"{replica_name(table.fullname)} AS {alias}"
    if not distinct:
        return f"{images_name(table.fullname)} AS {alias}"
    columns = ", ".join(identifier(name) for name in sorted(distinct))
    return f"(SELECT DISTINCT {columns} FROM {images_name(table.fullname)}) AS {alias}"
