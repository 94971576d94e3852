"""An embedded document as SQL over current rows: the first rows of a parent, in their order, as JSON.

Nothing of a document is kept: its parent's row is touched by the group of its rows (`projector.compile.relation`), and
the list is read again when the parent's row is written, through an index of what the rows are found and ordered by.
Postgres and SQLite agree on it only when the order is total and orders alike in both, so anything else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy.sql import elements, operators

from projections.documents import Embedded
from projections.values import DOCUMENT_FIELDS, Kind
from projections.values import value_type as type_of
from projector.compile.agreement import BYTEWISE, clause_text
from projector.compile.errors import RefusedError
from projector.compile.expression import Column, Expression, Operation, equalities, identifier
from projector.compile.grouping import GroupScalars
from projector.compile.names import replica_name
from projector.compile.relation import Lookups, Occurrence, is_stable, unique_keys


class Rows(Protocol):
    """The child rows, read and settled (`projector.compile.shape.Shape`)."""

    @property
    def occurrences(self) -> tuple[Occurrence, ...]:
        """FROM."""

    @property
    def where(self) -> tuple[Expression, ...]:
        """Conditions that all hold."""

    def translate(self, clause: Any) -> Expression:
        """A tree over the rows."""


def listing(
    document: Embedded, rows: Rows, links: Sequence[tuple[Expression, Column]], group: GroupScalars
) -> Expression:
    """The tree of a document. links: (expression over the rows, the group's column that it equals).

    Adds to the group what the list reads. Raises RefusedError.
    """
    fields = [rows.translate(column) for column in document.rows.selected_columns]
    for column, field in zip(document.rows.selected_columns, fields, strict=True):
        if field.type.kind not in DOCUMENT_FIELDS:
            raise RefusedError(clause_text(column), f"a document holds no {field.type.kind}: cast it to text")
    order = [_Order(clause, rows.translate) for clause in document.rows._order_by_clauses]
    _require_total(rows, [link for link, _ in links], order, document)
    items, first = _items(rows, [link for link, _ in links], document)
    conditions = [f"{_text(own)} = {{}}" for own, _ in links]
    conditions += [_text(term) for term in rows.where]
    group.reads([*fields, *(part.tree for part in order)], _look_up(rows, links, first, order))
    template = (
        f"(SELECT json_group_array(json_array({', '.join(f'listed.f{number}' for number in range(len(fields)))})) FROM"
        f" (SELECT {', '.join(f'{_text(field)} AS f{number}' for number, field in enumerate(fields))} FROM {items}"
        f" WHERE {' AND '.join(conditions)} ORDER BY {', '.join(part.sql for part in order)} LIMIT {document.bound}) AS listed)"
    )
    return Operation(
        type=type_of(document.type),
        nullable=False,
        template=template,
        arguments=tuple(column for _, column in links),
        strict=False,
    )


class _Order:
    """One entry of ORDER BY: its tree, and Postgres's order of it in SQLite's words."""

    def __init__(self, clause: Any, tree: Any) -> None:
        self.descending = False
        nulls = ""
        while isinstance(clause, elements.UnaryExpression | elements._label_reference):
            modifier = getattr(clause, "modifier", None)
            if modifier is operators.desc_op:
                self.descending = True
            elif modifier in (operators.nulls_first_op, operators.nulls_last_op):
                nulls = "FIRST" if modifier is operators.nulls_first_op else "LAST"
            elif modifier is not None and modifier is not operators.asc_op:
                break
            clause = clause.element
        self.tree: Expression = tree(clause)
        kind = self.tree.type
        if kind.opaque or kind.fixed_width_text or kind.kind is Kind.BOOLEAN:
            raise RefusedError(clause_text(clause), f"a document can't be ordered by a {kind.kind}")
        if kind.kind is Kind.TEXT and kind.collation not in BYTEWISE:
            raise RefusedError(
                clause_text(clause),
                'the order of text depends on the collation: write x.collate("C"), or order by an id',
            )
        direction = "DESC" if self.descending else "ASC"
        if self.tree.nullable or nulls:
            direction += f" NULLS {nulls or ('FIRST' if self.descending else 'LAST')}"
        self.sql = f"{_text(self.tree)} {direction}"


def _text(expression: Expression) -> str:
    """The expression over the rows of a list, whose occurrences are e0, e1, …; ready to stand in a template."""
    text = expression.sql(lambda index, name: f"e{index}.{identifier(name)}")
    return text.replace("{", "{{").replace("}", "}}")


def _require_total(rows: Rows, links: list[Expression], order: list[_Order], document: Embedded) -> None:
    known = {(c.occurrence, c.name) for c in (*links, *(part.tree for part in order)) if isinstance(c, Column)}
    waiting, bound = list(rows.occurrences), set[int]()
    while waiting:
        found = next((o for o in waiting if _is_found(o, rows, known, bound)), None)
        if found is None:
            names = ", ".join(f"{waiting[0].table.name}.{name}" for name in unique_keys(waiting[0].table)[0])
            raise RefusedError(
                clause_text(document.rows),
                f"the order of the document's rows is not total: add {names} to its order_by()",
            )
        bound.add(found.index)
        waiting.remove(found)


def _is_found(occurrence: Occurrence, rows: Rows, known: set[tuple[int, str]], bound: set[int]) -> bool:
    """Whether what is known leaves at most one row of an occurrence."""
    terms = occurrence.on if occurrence.optional else rows.where
    given = {name for index, name in known if index == occurrence.index}
    given |= {
        name
        for name, other in equalities(terms, occurrence.index)
        if other.occurrences() <= bound or (isinstance(other, Column) and (other.occurrence, other.name) in known)
    }
    return any(set(key) <= given for key in unique_keys(occurrence.table))


def _items(rows: Rows, links: list[Expression], document: Embedded) -> tuple[str, Occurrence]:
    """FROM, beginning with the occurrence that the parent finds; each other one is linked to those before it."""
    starts = frozenset[int]().union(*(link.occurrences() for link in links))
    if len(starts) != 1 or not all(isinstance(link, Column) for link in links):
        raise RefusedError(
            clause_text(document.rows), "a document's rows are found by plain columns of one table: join on those"
        )
    first = rows.occurrences[min(starts)]
    if first.optional or not all(is_stable(first.table, link.name) for link in links if isinstance(link, Column)):
        raise RefusedError(
            clause_text(document.rows), "a document's rows can't be found by a left join or an aggregate"
        )
    items, bound = f"{replica_name(first.table.fullname)} AS e{first.index}", {first.index}
    waiting = [o for o in rows.occurrences if o.index != first.index]
    while waiting:
        following = next((o for o in waiting if _is_linked(o, rows, bound)), None)
        if following is None:
            raise RefusedError(
                f"the join with {waiting[0].table.name}", "needs an equality with a column of the others"
            )
        source = f"{replica_name(following.table.fullname)} AS e{following.index}"
        if following.optional:
            items += f" LEFT JOIN {source} ON {' AND '.join(_text(term) for term in following.on)}"
        else:
            items += f" CROSS JOIN {source}"
        bound.add(following.index)
        waiting.remove(following)
    return items, first


def _is_linked(occurrence: Occurrence, rows: Rows, bound: set[int]) -> bool:
    terms = occurrence.on if occurrence.optional else rows.where
    return any(other.occurrences() <= bound for _, other in equalities(terms, occurrence.index) if other.occurrences())


def _look_up(rows: Rows, links: Sequence[tuple[Expression, Column]], first: Occurrence, order: list[_Order]) -> Lookups:
    """The indexes that the list is read by; the first one's order is the list's where that is possible."""
    columns = [link.name for link, _ in links if isinstance(link, Column)]
    if len({part.descending for part in order}) == 1:
        for part in order:
            if not isinstance(part.tree, Column) or part.tree.occurrence != first.index or part.tree.nullable:
                break
            if part.tree.name not in columns:
                columns.append(part.tree.name)
    found = [(first.table.fullname, tuple(columns))]
    for occurrence in rows.occurrences:
        terms = occurrence.on if occurrence.optional else rows.where
        names = sorted({name for name, other in equalities(terms, occurrence.index) if other.occurrences()})
        if occurrence.index != first.index and names:
            found.append((occurrence.table.fullname, tuple(names)))
    return tuple(found)
