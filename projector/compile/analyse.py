"""A select()'s shape as values, or a refusal that names the clause and the way out.

`analyse` takes a read model to an `Analysis`: its occurrences in FROM order, each inner condition as a term of one
conjunction, each left join's own condition, and the output columns as typed trees. A left join whose null-extended rows
no condition lets through becomes the inner join that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column as SourceColumn
from sqlalchemy import Index, Select, Table, UniqueConstraint
from sqlalchemy.sql import selectable
from sqlalchemy.sql.elements import True_

from projections.read_model import ReadModel
from projections.values import Kind, UnsupportedTypeError, ValueType, value_type
from projector.compile.errors import CompileError, RefusedError, RefusedModelError
from projector.compile.expression import Column, Expression, Operation, null_rejecting, terms_of
from projector.compile.scalar import Scalars

MOST_OCCURRENCES = 6


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One use of a source table in FROM.

    index: its place. alias: its name in generated SQL. table: the source table.
    optional: it is the right side of a left join, so its columns may be null-extended.
    on: the left join's own terms, empty for the others (theirs are in `Analysis.where`).
    """

    index: int
    alias: str
    table: Table
    optional: bool = False
    on: tuple[Expression, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Output:
    """One column of the select(): its name, declared type, and tree."""

    name: str
    type: ValueType
    expression: Expression


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A select() taken apart. where: every inner ON term and WHERE term; all must hold."""

    model: ReadModel
    occurrences: tuple[Occurrence, ...]
    where: tuple[Expression, ...]
    outputs: tuple[Output, ...]

    @property
    def key(self) -> tuple[Output, ...]:
        """The outputs that make the row's key, in key order."""
        by_name = {output.name: output for output in self.outputs}
        return tuple(by_name[name] for name in self.model.key)

    def columns(self) -> Iterator[Column]:
        """Every source column that the model reads."""
        for expression in (
            *(o.expression for o in self.outputs),
            *self.where,
            *(t for o in self.occurrences for t in o.on),
        ):
            yield from expression.columns()


def analyse(model: ReadModel) -> Analysis:
    """Take a read model's select() apart; raises RefusedModelError."""
    try:
        return _analyse(model)
    except (CompileError, UnsupportedTypeError) as error:
        raise RefusedModelError(model.name, error) from error


def _analyse(model: ReadModel) -> Analysis:
    select = model.select
    _refuse_clauses(select)
    joins = _Joins()
    for element in select.get_final_froms():
        joins.add(element)
    if len(joins.tables) > MOST_OCCURRENCES:
        raise RefusedError(f"{len(joins.tables)} tables in FROM", f"at most {MOST_OCCURRENCES}: split the read model")
    scalars = Scalars(joins.index_of)
    where = [term for condition in joins.inner for term in terms_of(scalars.translate(condition))]
    if select.whereclause is not None:
        where += terms_of(scalars.translate(select.whereclause))
    occurrences = [
        Occurrence(
            index=index,
            alias=f"o{index}",
            table=table,
            optional=index in joins.outer,
            on=tuple(terms_of(scalars.translate(joins.outer[index]))) if index in joins.outer else (),
        )
        for index, table in enumerate(joins.tables)
    ]
    for condition in (*where, *(term for o in occurrences for term in o.on)):
        if condition.type.kind is not Kind.BOOLEAN:
            raise RefusedError(str(condition), "a condition must be boolean")
    occurrences, where = _simplified(occurrences, where)
    outputs = tuple(
        _output(str(column.name), column, scalars, occurrences, where) for column in select.selected_columns
    )
    analysis = Analysis(model=model, occurrences=tuple(occurrences), where=tuple(where), outputs=outputs)
    for output in analysis.key:
        if output.type.opaque or output.type.fixed_width_text or output.type.kind is Kind.BYTES:
            raise RefusedError(f"key column {output.name}", f"a {output.type.kind} can't be a key: cast it to text")
        if output.expression.nullable:
            raise RefusedError(
                f"key column {output.name} may be NULL",
                "use a column that is NOT NULL, coalesce it, or add WHERE … IS NOT NULL",
            )
    return analysis


def _output(name: str, column: Any, scalars: Scalars, occurrences: list[Occurrence], where: list[Expression]) -> Output:
    expression = _with_nullability(scalars.translate(column), occurrences, where)
    kind = value_type(column.type)
    actual = expression.type
    if actual.kind is not kind.kind:
        raise RefusedError(f"column {name}", f"is declared {kind.kind} and computed as {actual.kind}: cast it")
    if kind.kind is Kind.INTEGER and actual.bits > kind.bits:
        raise RefusedError(
            f"column {name}",
            f"is declared with {kind.bits} bits and computed with {actual.bits}: cast it to BigInteger",
        )
    if kind.kind is Kind.NUMERIC and actual.scale != kind.scale:
        raise RefusedError(
            f"column {name}",
            f"has {actual.scale} digits after the point where {kind.scale} are declared: cast it to numeric(p, s)",
        )
    return Output(name=name, type=kind, expression=expression)


def _with_nullability(expression: Expression, occurrences: list[Occurrence], where: list[Expression]) -> Expression:
    """The tree with each column's nullability as the joins and the WHERE leave it."""
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


class _Joins:
    """FROM, flattened: tables in order, inner conditions, and the condition of each left join by occurrence."""

    def __init__(self) -> None:
        self.tables: list[Table] = []
        self.index_of: dict[Any, int] = {}
        self.inner: list[Any] = []
        self.outer: dict[int, Any] = {}

    def add(self, element: Any) -> None:
        if isinstance(element, selectable.Join):
            if element.full:
                raise RefusedError("FULL OUTER JOIN", "make a read model a side, or use refresh=")
            self.add(element.left)
            if isinstance(element.right, selectable.Join | selectable.FromGrouping):
                raise RefusedError("a join inside the right side of a join", "write the joins one after the other")
            index = len(self.tables)
            self.add(element.right)
            if element.isouter:
                self.outer[index] = element.onclause
            elif not isinstance(element.onclause, True_):
                self.inner.append(element.onclause)
            return
        table = element.element if isinstance(element, selectable.Alias) else element
        if not isinstance(table, Table):
            kind = type(element).__name__
            raise RefusedError(
                f"{kind} in FROM", "only tables and their aliases can be maintained: join the tables themselves"
            )
        if not table.primary_key.columns:
            raise RefusedError(f"table {table.fullname}", "has no primary key in its metadata: declare one")
        self.index_of[element] = len(self.tables)
        self.tables.append(table)


def _refuse_clauses(select: Select[Any]) -> None:
    if not isinstance(select, Select):
        raise RefusedError(type(select).__name__, "declare a plain select(): a UNION is a read model a part")
    clauses = {
        "GROUP BY": bool(select._group_by_clauses),
        "HAVING": bool(select._having_criteria),
        "DISTINCT": bool(select._distinct) or bool(select._distinct_on),
        "FOR UPDATE": select._for_update_arg is not None,
        "a CTE": bool(select._independent_ctes),
        "a prefix or suffix": bool(select._prefixes) or bool(select._suffixes),
    }
    for clause, present in clauses.items():
        if present:
            raise RefusedError(clause, "can't be maintained: leave it out")
    if select._order_by_clauses:
        raise RefusedError("ORDER BY", "a table has no order of its own: use clustering_key, with descending()")
    if select._limit_clause is not None or select._offset_clause is not None or select._fetch_clause is not None:
        raise RefusedError("LIMIT or OFFSET", "readers page: leave it out and read with a limit")


def unique_keys(table: Table) -> list[tuple[str, ...]]:
    """The column sets that identify a row by the table's metadata, the primary key first.

    Only NOT NULL columns count, and no partial or deferrable index.
    """
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
