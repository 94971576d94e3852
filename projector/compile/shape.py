"""FROM and WHERE of a select() as occurrences of relations and terms, with grouped subqueries as relations of their own.

A `Shape` reads one select(): plain tables and their aliases, inner and left joins, subqueries with GROUP BY, and
correlated scalar subqueries with an aggregate, each of which becomes a left join with a group. A left join whose
null-extended rows no condition lets through becomes the inner join that it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Select, Table
from sqlalchemy.sql import elements, operators, selectable, visitors
from sqlalchemy.sql.elements import True_

from projections.documents import Embedded, Truncated
from projections.values import Kind
from projector.compile.agreement import clause_text, compare
from projector.compile.errors import RefusedError
from projector.compile.expression import Column, Constant, Expression, Operation, null_rejecting, terms_of
from projector.compile.grouping import GroupScalars, is_aggregate
from projector.compile.listing import listing
from projector.compile.relation import COUNT, Occurrence
from projector.compile.scalar import Scalars

MOST_OCCURRENCES = 6
Correlation = tuple[tuple[Expression, Expression], ...]
"""Pairs of (expression over a subquery's rows, expression of the select() around it) that are equal."""


@dataclass
class _Place:
    """One relation of FROM while it is being read. on: terms that are already trees; clause: SQLAlchemy's ON."""

    table: Table | None = None
    group: GroupScalars | None = None
    optional: bool = False
    on: list[Expression] = field(default_factory=list)
    clause: Any = None


class Shape:
    """A select() being read. `scalars` translates over its rows; `occurrences` and `where` are final after `settle`."""

    def __init__(self, select: Select[Any], correlated: frozenset[Any] = frozenset()) -> None:
        """correlated: FROM elements of the select() around it, which are not this one's own."""
        self._select = select
        self._places: list[_Place] = []
        self._index_of: dict[Any, int] = {}
        self._columns_of: dict[Any, Mapping[str, Expression]] = {}
        self._subqueries: dict[Any, int] = {}
        self._where: list[Expression] = []
        self._settled = False
        self.scalars = Scalars(self._index_of, columns=self._foreign, subquery=self._subquery)
        self.occurrences: tuple[Occurrence, ...] = ()
        inner: list[Any] = []
        for element in select.get_final_froms():
            if element not in correlated:
                self._add(element, inner)
        if not self._places:
            raise RefusedError(clause_text(select), "has no table of its own in FROM: name one")
        for condition in inner:
            self._where += terms_of(self.scalars.translate(condition))
        for place in self._places:
            if place.clause is not None:
                place.on += terms_of(self.scalars.translate(place.clause))

    @property
    def where(self) -> tuple[Expression, ...]:
        """Every inner ON term and WHERE term; all must hold."""
        return tuple(self._where)

    def restrict(self, condition: Any) -> None:
        """Add a WHERE or HAVING clause."""
        self._where += terms_of(self.scalars.translate(condition))

    def settle(self) -> None:
        """Make `occurrences` and `where` final: nothing that adds a relation may be translated after this."""
        self._settled = True
        for place in self._places:
            if not place.optional:
                self._where += place.on
                place.on = []
        if len(self._places) > MOST_OCCURRENCES:
            raise RefusedError(
                f"{len(self._places)} tables in FROM", f"at most {MOST_OCCURRENCES}: split the read model"
            )
        occurrences = [
            Occurrence(
                index=index,
                alias=f"o{index}",
                table=place.group.grouped() if place.group is not None else _of(place.table),
                optional=place.optional,
                on=tuple(place.on),
            )
            for index, place in enumerate(self._places)
        ]
        for condition in (*self._where, *(term for o in occurrences for term in o.on)):
            if condition.type.kind is not Kind.BOOLEAN:
                raise RefusedError(str(condition), "a condition must be boolean")
        occurrences, self._where = _simplified(occurrences, self._where)
        self.occurrences = tuple(occurrences)

    def translate(self, clause: Any) -> Expression:
        """A tree over the rows, with nullability as the joins leave it; after `settle`."""
        return self.with_nullability(self.scalars.translate(clause))

    def with_nullability(self, expression: Expression) -> Expression:
        """The tree with each column's nullability as the joins and the WHERE leave it; after `settle`."""
        return _with_nullability(expression, self.occurrences, self._where)

    # --- FROM

    def _add(self, element: Any, inner: list[Any]) -> None:
        if isinstance(element, selectable.Join):
            if element.full:
                raise RefusedError("FULL OUTER JOIN", "make a read model a side, or use refresh=")
            self._add(element.left, inner)
            if isinstance(element.right, selectable.Join | selectable.FromGrouping):
                raise RefusedError("a join inside the right side of a join", "write the joins one after the other")
            index = len(self._places)
            self._add(element.right, inner)
            if element.isouter:
                self._places[index].optional = True
                self._places[index].clause = element.onclause
                if (group := self._places[index].group) is not None:
                    self._columns_of[element.right] = _only_when_joined(self._columns_of[element.right], index, group)
            elif not isinstance(element.onclause, True_):
                inner.append(element.onclause)
            return
        table = element.element if isinstance(element, selectable.Alias) else element
        if isinstance(table, selectable.Subquery):
            self._add_grouped(element, table.element)
            return
        if not isinstance(table, Table):
            kind = type(element).__name__
            raise RefusedError(
                f"{kind} in FROM",
                "only tables, their aliases and subqueries with GROUP BY can be maintained: join the tables themselves,"
                " or use refresh=",
            )
        if not table.primary_key.columns:
            raise RefusedError(f"table {table.fullname}", "has no primary key in its metadata: declare one")
        self._index_of[element] = len(self._places)
        self._places.append(_Place(table=table))

    def _add_grouped(self, element: Any, select: Any) -> None:
        index = len(self._places)
        group, columns, having = group_of(select, occurrence=index)
        self._places.append(_Place(group=group, on=having))
        self._columns_of[element] = columns

    def _foreign(self, column: Any) -> Expression | None:
        """A column of a grouped subquery."""
        columns = self._columns_of.get(column.table)
        return None if columns is None else columns.get(str(column.name))

    # --- correlated scalar subqueries

    def _subquery(self, clause: Any) -> Expression:
        """What a correlated subquery or a document is to its parent's row, through a left join with the group of its rows."""
        if isinstance(clause, Embedded | Truncated):
            index, inner, on = self._correlated(clause.rows.order_by(None), clause)
            group = self._group(index)
            if isinstance(clause, Embedded):
                links = [(own, group.key(own, clause.rows)) for own, _ in on]
                return listing(clause, inner, links, group)
            bound = Constant(type=COUNT, nullable=False, value=clause.bound)
            return compare(">", group.zero_if_empty(group.row_count()), bound, clause.rows)
        select = clause.element
        if not isinstance(select, Select) or len(select.selected_columns) != 1:
            raise RefusedError(clause_text(clause), "a scalar subquery is a select() of one aggregate here")
        (column,) = select.selected_columns
        if not any(is_aggregate(node) for node in visitors.iterate(column)):
            raise RefusedError(
                clause_text(clause), "a subquery without an aggregate can't be maintained: join its table"
            )
        index, inner, _ = self._correlated(select, clause)
        group = self._group(index)
        group.rows = inner.translate  # its aliases may be others than those of the first one like it
        return group.translate(column)

    def _correlated(self, select: Select[Any], clause: Any) -> tuple[int, Shape, Correlation]:
        """The group of a correlated select()'s rows: (its place, the select() read, the pairs that link it)."""
        text = select if isinstance(clause, Embedded | Truncated) else clause
        if self._settled:
            raise RefusedError(clause_text(text), "a subquery can't stand inside GROUP BY or an aggregate: join it")
        refuse_clauses(select, grouped=False)
        inner = Shape(select, frozenset(self._index_of) | frozenset(self._columns_of))
        links = []
        for condition in _conjuncts(select.whereclause):
            if inner.owns(condition):
                inner.restrict(condition)
            else:
                links.append(self._link(condition, inner))
        if not links:
            raise RefusedError(
                clause_text(text), "is the same for every row: correlate it with a column of the select() around it"
            )
        inner.settle()
        on = tuple((inner.translate(own), self.scalars.translate(other)) for own, other in links)
        same = (inner.occurrences, inner.where, on)
        index = self._subqueries.setdefault(same, len(self._places))
        if index == len(self._places):
            group = GroupScalars(inner.translate, inner.occurrences, inner.where, occurrence=index, empty=True)
            terms = [compare("=", group.key(own, text), other, text) for own, other in on]
            self._places.append(_Place(group=group, optional=True, on=terms))
        return index, inner, on

    def _group(self, index: int) -> GroupScalars:
        group = self._places[index].group
        assert group is not None, "a subquery's place is a group"
        return group

    def owns(self, condition: Any) -> bool:
        """Whether a clause refers to this select()'s own FROM only."""
        return all(column.table in self._index_of or column.table in self._columns_of for column in _columns(condition))

    def _link(self, condition: Any, inner: Shape) -> tuple[Any, Any]:
        """(expression of the subquery, expression of the select() around it) of one correlating equality."""
        if isinstance(condition, elements.BinaryExpression) and condition.operator is operators.eq:
            for own, other in ((condition.left, condition.right), (condition.right, condition.left)):
                if inner.owns(own) and self.owns(other) and _columns(own) and _columns(other):
                    return own, other
        raise RefusedError(
            clause_text(condition), "a subquery is correlated by equalities of its columns with the outer ones only"
        )


def group_of(select: Any, *, occurrence: int) -> tuple[GroupScalars, dict[str, Expression], list[Expression]]:
    """A grouped select() as a relation at a place: (the relation being collected, its columns by name, HAVING terms)."""
    if not isinstance(select, Select) or not select._group_by_clauses:
        raise RefusedError(
            "a subquery without GROUP BY in FROM", "join its tables themselves, or use refresh= for anything else"
        )
    refuse_clauses(select, grouped=True)
    shape = Shape(select)
    if select.whereclause is not None:
        shape.restrict(select.whereclause)
    shape.settle()
    group = GroupScalars(shape.translate, shape.occurrences, shape.where, occurrence=occurrence)
    for clause in _group_clauses(select._group_by_clauses):
        element = _group_clause(clause, select)
        group.key(shape.translate(element), element)
    columns = {str(column.name): group.translate(column) for column in select.selected_columns}
    having = [term for clause in select._having_criteria for term in terms_of(group.translate(clause))]
    return group, columns, having


def refuse_clauses(select: Any, *, grouped: bool) -> Select[Any]:
    """The select() itself; raises RefusedError for a clause that can't be maintained. grouped: GROUP BY and HAVING can."""
    if not isinstance(select, Select):
        raise RefusedError(
            type(select).__name__, "declare a plain select(): a UNION is a read model a part, or use refresh="
        )
    clauses = {
        "GROUP BY": not grouped and bool(select._group_by_clauses),
        "HAVING": bool(select._having_criteria) and not (grouped and select._group_by_clauses),
        "DISTINCT": bool(select._distinct) or bool(select._distinct_on),
        "FOR UPDATE": select._for_update_arg is not None,
        "a CTE": bool(select._independent_ctes),
        "a prefix or suffix": bool(select._prefixes) or bool(select._suffixes),
    }
    for clause, present in clauses.items():
        if present:
            raise RefusedError(clause, "can't be maintained here: leave it out, or use refresh=")
    if select._order_by_clauses:
        raise RefusedError("ORDER BY", "a table has no order of its own: use clustering_key, with descending()")
    if select._limit_clause is not None or select._offset_clause is not None or select._fetch_clause is not None:
        raise RefusedError("LIMIT or OFFSET", "readers page: leave it out and read with a limit")
    return select


def _group_clauses(clauses: Any) -> Iterator[Any]:
    """The entries one by one: SQLAlchemy takes a function for a FROM element and lists its columns."""
    for clause in clauses:
        if isinstance(clause, elements.ClauseList):
            yield from _group_clauses(clause.clauses)
        else:
            yield clause


def _group_clause(clause: Any, select: Select[Any]) -> Any:
    """What a GROUP BY entry stands for: a label or its name is the expression behind it."""
    element = getattr(clause, "element", clause) if isinstance(clause, elements._label_reference) else clause
    if isinstance(clause, elements._textual_label_reference):
        named = {str(column.name): column for column in select.selected_columns}
        if clause.element not in named:
            raise RefusedError(f"GROUP BY {clause.element}", "names no column of the select()")
        element = named[clause.element]
    return element.element if isinstance(element, elements.Label) else element


def _only_when_joined(columns: Mapping[str, Expression], index: int, group: GroupScalars) -> dict[str, Expression]:
    """A left-joined subquery's columns: NULL where it found no group, also those that would turn NULL into a value."""
    rows = group.row_count()
    return {name: column if index in column.strict_in() else _guarded(rows, column) for name, column in columns.items()}


def _guarded(rows: Expression, column: Expression) -> Expression:
    test = Operation(
        type=replace(rows.type, kind=Kind.BOOLEAN, bits=0),
        nullable=False,
        template="({} IS NOT NULL)",
        arguments=(rows,),
        strict=False,
        not_null_test=True,
    )
    return Operation(
        type=column.type,
        nullable=True,
        template="(CASE WHEN {} THEN {} ELSE {} END)",
        arguments=(test, column, Constant(type=column.type, value=None)),
        strict=False,
    )


def _of(table: Table | None) -> Table:
    assert table is not None, "a place is a table or a group"
    return table


def _conjuncts(condition: Any) -> list[Any]:
    if condition is None:
        return []
    if isinstance(condition, elements.Grouping):
        return _conjuncts(condition.element)
    if isinstance(condition, elements.BooleanClauseList) and condition.operator is operators.and_:
        return [part for clause in condition.clauses for part in _conjuncts(clause)]
    return [condition]


def _columns(clause: Any) -> list[Any]:
    return [
        node
        for node in visitors.iterate(clause)
        if isinstance(node, elements.ColumnClause) and node.table is not None and node.name != "*"
    ]


def _with_nullability(
    expression: Expression, occurrences: tuple[Occurrence, ...], where: list[Expression]
) -> Expression:
    proved = {
        (column.occurrence, column.name)
        for term in where
        if isinstance(term, Operation) and (term.strict or term.not_null_test)
        for argument in term.arguments
        if isinstance(argument, Column)
        for column in (argument,)
    }
    match expression:
        case Column():
            nullable = (expression.occurrence, expression.name) not in proved and (
                expression.nullable or occurrences[expression.occurrence].optional
            )
            return replace(expression, nullable=nullable)
        case Operation() if expression.arguments and expression.strict:
            arguments = tuple(_with_nullability(a, occurrences, where) for a in expression.arguments)
            invented = expression.nullable and not any(a.nullable for a in expression.arguments)
            return replace(expression, arguments=arguments, nullable=invented or any(a.nullable for a in arguments))
        case Operation() if expression.template.startswith("COALESCE"):
            arguments = tuple(_with_nullability(a, occurrences, where) for a in expression.arguments)
            return replace(expression, arguments=arguments, nullable=all(a.nullable for a in arguments))
        case Operation() if expression.template.startswith("(CASE"):
            arguments = tuple(_with_nullability(a, occurrences, where) for a in expression.arguments)
            results = (*arguments[1::2], arguments[-1])
            return replace(expression, arguments=arguments, nullable=any(a.nullable for a in results))
    return expression


def _simplified(occurrences: list[Occurrence], where: list[Expression]) -> tuple[list[Occurrence], list[Expression]]:
    """Left joins whose null-extended rows an inner term rejects become inner joins, until none is left."""
    changed = True
    while changed:
        changed = False
        rejected = frozenset[int]().union(*(null_rejecting(term) for term in where)) if where else frozenset[int]()
        for occurrence in occurrences:
            if occurrence.optional and occurrence.index in rejected:
                where = [*where, *occurrence.on]
                occurrences[occurrence.index] = replace(occurrence, optional=False, on=())
                changed = True
    return occurrences, where
