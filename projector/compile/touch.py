"""Which keys of a read model a batch may have changed, as SQL over images and current rows.

Let a batch have images (rows before and after each event) of some source tables. A statement stands for one choice of
what each occurrence is: its table's images, its current rows, or nothing (a left join's null-extended row); together
they give every key that any state before, within or after the batch can have had, for every combination of states of
the joined rows. A superset is harmless, a missed key is a wrong table; so terms are only ever dropped.

A left join's image that stands alone says two things: a row had, or has, this partner; and it had, or will have, none.
For the second a statement finds the row through the image and takes the key's null-extended form (`LOST`).

Conditions on a group's aggregates are dropped like those on the nullable side of a left join: the images of a group are
its key, whatever the values were in between.

One statement per combination instead of a UNION ALL of images and current rows inside a join, because SQLite
materializes such a union by scanning the table as soon as two of them meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from itertools import product
from types import MappingProxyType

from sqlalchemy import ForeignKeyConstraint, Table

from projector.compile.analyse import Analysis
from projector.compile.budget import budgets
from projector.compile.errors import RefusedError, RefusedModelError
from projector.compile.expression import Column, Expression, Resolver, equalities, identifier
from projector.compile.names import WEIGHT, touched_name
from projector.compile.order import Source, from_items
from projector.compile.pushed import FeedProgram
from projector.compile.relation import Occurrence, unique_keys
from projector.compile.wide import WideStatement, wide_statement

Minor = Mapping[str, frozenset[str]]
NO_MINOR: Minor = MappingProxyType({})


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
    wide: the statement in slices, when what it finds may wait. budget: how long it is to wait, when its images change
    nothing but columns that have one.
    """

    sql: str
    tables: frozenset[str]
    looked_up: tuple[tuple[str, tuple[str, ...]], ...]
    wide: WideStatement | None = None
    budget: timedelta | None = None


def touch_statements(
    analysis: Analysis, feed: FeedProgram | None = None, minor: Minor = NO_MINOR
) -> tuple[TouchStatement, ...]:
    """All statements of a read model; raises RefusedModelError for a join without an equality, or a budget.

    minor: the minor columns of tables (`ReplicaTable.minor`): changes of those alone touch only models that read one.
    """
    try:
        waits = budgets(analysis, lambda occurrence: _is_plain_parent(analysis, occurrence))
    except RefusedError as error:
        raise RefusedModelError(analysis.model.name, error) from error
    statements = {}
    for parts in _choices(analysis):
        statement = _statement(analysis, parts, feed, waits, minor)
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
    if not isinstance(child.table, Table):
        return False
    table = child.table
    wanted = {(other.name, name) for name, other in pairs if isinstance(other, Column)}
    return not child.optional and any(
        {(element.parent.name, element.column.name) for element in constraint.elements} == wanted
        and constraint.elements[0].column.table.fullname == occurrence.table.fullname
        and all(not table.c[name].nullable for name, _ in wanted)
        for constraint in table.constraints
        if isinstance(constraint, ForeignKeyConstraint)
    )


def _statement(
    analysis: Analysis, parts: tuple[Part, ...], feed: FeedProgram | None, waits: Mapping[int, timedelta], minor: Minor
) -> TouchStatement | None:
    absent = frozenset(index for index, part in enumerate(parts) if part is Part.ABSENT)
    lost = frozenset(index for index, part in enumerate(parts) if part is Part.LOST)
    optional = frozenset(o.index for o in analysis.occurrences if o.optional)
    dropped = absent - optional
    owned = [(-1, t) for t in analysis.where if not t.occurrences() & (optional | dropped)]
    owned += [(o.index, t) for o in analysis.occurrences if o.index not in absent for t in o.on]
    owned = [(owner, term) for owner, term in owned if analysis.settled(term)]
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
    sources = [
        Source(
            index=o.index,
            alias=o.alias,
            table=o.table.fullname,
            images=parts[o.index] is not Part.CURRENT,
            minor=_reads_minor(analysis, o, minor),
        )
        for o in analysis.occurrences
        if o.index not in absent
    ]
    author = _author_of_copies(analysis, feed, absent)
    beside = at_end = ""
    if feed is not None and author is not None:
        images = [analysis.occurrences[source.index] for source in sources if source.images]
        author = _seen_from(images[0], author, [term for _, term in owned])
        joins = feed.looked_up(author.sql(resolver(-1)))
        beside, at_end = (joins, "") if author.occurrences() <= {images[0].index} else ("", joins)
        where = " AND ".join(filter(None, (where, *feed.copies([_gone(o) for o in images]))))
    terms = [term for _, term in owned]
    try:
        items, looked_up = from_items(sources, terms, read, least=bool(beside or at_end), beside=beside)
    except RefusedError as error:
        raise RefusedModelError(analysis.model.name, error) from error
    items += at_end
    found = f"{items} WHERE {where}" if where else items
    wide = budget = None
    if not lost and len(sources) > 1 and sum(source.images for source in sources) == 1:
        parent = next(analysis.occurrences[source.index] for source in sources if source.images)
        if not any(parent.index in output.expression.occurrences() for output in analysis.key) and (
            parent.optional or _is_plain_parent(analysis, parent)
        ):
            copied = None if feed is None or author is None else (feed.copied, author)
            budget = waits.get(parent.index)
            wide = wide_statement(analysis, sources, terms, found, single=budget is not None, copied=copied)
            if budget is not None and wide is None:
                why = "is found by columns that can't be kept until then: cast them to text"
                raise RefusedModelError(analysis.model.name, RefusedError(f"a budget for {parent.table.name}", why))
    return TouchStatement(
        sql=f"INSERT OR IGNORE INTO {touched_name(analysis.model.name)} SELECT {key} FROM {found}",
        tables=frozenset(source.table for source in sources if source.images),
        looked_up=looked_up,
        wide=wide,
        budget=budget,
    )


def _seen_from(occurrence: Occurrence, expression: Expression, terms: Sequence[Expression]) -> Expression:
    """What an occurrence's own column says as well, where one has to equal the expression; else the expression."""
    for name, other in equalities(tuple(terms), occurrence.index):
        if other == expression and isinstance(other, Column):
            return replace(other, occurrence=occurrence.index, name=name)
    return expression


def _gone(imaged: Occurrence) -> str:
    """SQL that holds for images that may have been part of rows that are there no more: each one of a nullable side or a group."""
    return f"{imaged.alias}.{WEIGHT} <= 0" if isinstance(imaged.table, Table) and not imaged.optional else "1"


def _reads_minor(analysis: Analysis, occurrence: Occurrence, minor: Minor) -> bool:
    """Whether a change of minor columns alone says anything to the model; of tables that have none, any change does."""
    names = minor.get(occurrence.table.fullname)
    read = (column.name for column in analysis.columns() if column.occurrence == occurrence.index)
    return names is None or any(name in names for name in read)


def _author_of_copies(analysis: Analysis, feed: FeedProgram | None, absent: frozenset[int]) -> Expression | None:
    """The author whose entries a statement finds, where it need not find those that have no copies."""
    if feed is None:
        return None
    (hot,) = (o for o in analysis.occurrences if o.table.fullname == feed.hot.fullname)
    if hot.index not in absent:
        return None
    ((_, author),) = equalities(hot.on, hot.index)
    return None if author.occurrences() & absent else author
