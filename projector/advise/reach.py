"""SQL that counts, for each row of a source table, the rows of a read model that a change of it can rewrite. Pure.

Derived from the declared select() alone: a table in its FROM reaches the rows that it is joined into; one in a grouped
or correlated subquery, or in a document, reaches those that the group or the parent's row is joined into. A grouped
select() is reached once a group.

Not promised: tables of a subquery inside a subquery, which are left out; and what a feed's policy leaves out is counted,
because it is the select() that is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Alias,
    BigInteger,
    CompoundSelect,
    Select,
    Table,
    and_,
    cast,
    distinct,
    func,
    null,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.sql import elements, operators, selectable, visitors

from projections.documents import Embedded
from projections.read_model import ReadModel

Leaf = Table | Alias


@dataclass(frozen=True, kw_only=True)
class Reach:
    """rows: a select() of one column n, for each row of `table` that reaches any; via: how, for the reader."""

    table: Table
    via: str
    rows: Select[Any]


def reaches(model: ReadModel) -> tuple[Reach, ...]:
    """Each source table's occurrences in a read model, in the order of its select(); none when it is scheduled."""
    return tuple(_of_select(model.select)) if model.refresh is None else ()


def histogram(reach: Reach) -> CompoundSelect[Any]:
    """Rows of (n, source rows that reach n rows), of those that reach any; and (null, all rows of the table)."""
    found = reach.rows.subquery("found")
    every = select(null().label("n"), func.count().label("rows")).select_from(reach.table)
    return union_all(select(found.c.n, func.count().label("rows")).group_by(found.c.n), every)


def _of_select(statement: Select[Any]) -> Iterator[Reach]:
    sources = list(_leaves(statement))
    grouped = [getattr(clause, "element", clause) for clause in statement._group_by_clauses]
    for source in sources:
        if isinstance(source, selectable.Subquery):
            yield from _through_group(statement, source)
        else:
            keys = _key(source)
            count: Any = func.count(distinct(tuple_(*grouped))) if grouped else func.count()
            rows = _rows_of(statement, count.label("n")).where(keys[0].is_not(None)).group_by(*keys)
            yield Reach(table=_table(source), via="its group" if grouped else "a join", rows=rows)
    seen = set()
    for column in statement.selected_columns:
        for node in visitors.iterate(column):
            inner = node.rows.order_by(None) if isinstance(node, Embedded) else getattr(node, "element", None)
            if isinstance(node, Embedded | selectable.ScalarSelect) and isinstance(inner, Select):
                what = "a document" if isinstance(node, Embedded) else "a subquery"
                for reach in _through_parent(statement, inner, [s for s in sources if not isinstance(s, Select)], what):
                    if (identity := (reach.table, str(reach.rows))) not in seen:
                        seen.add(identity)
                        yield reach


def _through_group(statement: Select[Any], group: selectable.Subquery) -> Iterator[Reach]:
    """Tables of a grouped subquery: a row's group, then the rows that it is joined into."""
    inner = group.element
    if not isinstance(inner, Select):
        return
    named = {id(clause): name for clause, name in _named_groups(inner)}
    clauses = [clause for clause in _groups(inner) if id(clause) in named]
    for source in _leaves(inner):
        if isinstance(source, selectable.Subquery):
            continue
        own = _key(source)
        found = _rows_of(inner, *_named("p", own), *_named("k", clauses)).distinct()
        ends = [group.c[named[id(clause)]] for clause in clauses]
        yield Reach(table=_table(source), via="its group", rows=_linked(found, len(own), statement, ends))


def _through_parent(statement: Select[Any], inner: Select[Any], outer: Sequence[Any], what: str) -> Iterator[Reach]:
    """Tables of a correlated select(): the rows whose columns it is correlated with."""
    own_sources = [source for source in _leaves(inner) if source not in outer]
    conditions, links = [], []
    for condition in _conjuncts(inner.whereclause):
        pair = _link(condition, outer)
        if pair is None:
            conditions.append(condition)
        else:
            links.append(pair)
    froms = [f for f in inner.get_final_froms() if f not in outer]
    for source in own_sources:
        if isinstance(source, selectable.Subquery) or not links:
            continue
        own = _key(source)
        columns = (*_named("p", own), *_named("k", [mine for mine, _ in links]))
        found = select(*columns).select_from(*froms).where(and_(true(), *conditions)).distinct()
        rows = _linked(found, len(own), statement, [theirs for _, theirs in links])
        yield Reach(table=_table(source), via=what, rows=rows)


def _linked(found: Select[Any], width: int, statement: Select[Any], ends: Sequence[Any]) -> Select[Any]:
    """Rows that source rows reach through values: `found` has (key p0 …, value k0 …), and `ends` are the same values of
    a read model's rows, which are counted once a value and not once a source row."""
    links = found.subquery("links")
    counted = _rows_of(statement, func.count().label("n"), *_named("k", ends)).group_by(*ends).subquery("counted")
    equal = [links.c[f"k{number}"] == counted.c[f"k{number}"] for number in range(len(ends))]
    reached = cast(func.sum(counted.c.n), BigInteger).label("n")
    return (
        select(reached)
        .join_from(links, counted, and_(true(), *equal))
        .group_by(*(links.c[f"p{number}"] for number in range(width)))
    )


def _named(letter: str, columns: Sequence[Any]) -> list[Any]:
    return [column.label(f"{letter}{number}") for number, column in enumerate(columns)]


def _rows_of(statement: Select[Any], *columns: Any) -> Select[Any]:
    """Other columns of the rows before they are grouped."""
    rows: Select[Any] = select(*columns).select_from(*statement.get_final_froms())
    return rows if statement.whereclause is None else rows.where(statement.whereclause)


def _leaves(statement: Select[Any]) -> Iterator[Any]:
    for element in statement.get_final_froms():
        yield from _leaves_of(element)


def _leaves_of(element: Any) -> Iterator[Any]:
    if isinstance(element, selectable.Join):
        yield from _leaves_of(element.left)
        yield from _leaves_of(element.right)
    else:
        yield element


def _groups(statement: Select[Any]) -> list[Any]:
    return [getattr(clause, "element", clause) for clause in statement._group_by_clauses]


def _named_groups(statement: Select[Any]) -> Iterator[tuple[Any, str]]:
    """Each GROUP BY expression that is selected, and its name there."""
    for clause in _groups(statement):
        for column in statement.selected_columns:
            if getattr(column, "element", column).compare(clause):
                yield clause, str(column.name)
                break


def _key(source: Leaf) -> list[Any]:
    return [source.c[column.name] for column in _table(source).primary_key.columns]


def _table(source: Any) -> Table:
    found = source.element if isinstance(source, Alias) else source
    assert isinstance(found, Table)
    return found


def _conjuncts(condition: Any) -> list[Any]:
    if condition is None:
        return []
    if isinstance(condition, elements.BooleanClauseList) and condition.operator is operators.and_:
        return [part for clause in condition.clauses for part in _conjuncts(clause)]
    return [condition]


def _link(condition: Any, outer: Sequence[Any]) -> tuple[Any, Any] | None:
    """(the inner side, the outer side) of a correlating equality; None for a condition of its own."""

    def is_outer(clause: Any) -> bool:
        return any(getattr(node, "table", None) in outer for node in visitors.iterate(clause))

    if not isinstance(condition, elements.BinaryExpression) or not is_outer(condition):
        return None
    return (condition.right, condition.left) if is_outer(condition.left) else (condition.left, condition.right)
