"""A select() as values, or a refusal that names the clause and the way out.

`analyse` takes a read model to an `Analysis`: its occurrences in FROM order, each inner condition as a term of one
conjunction, each left join's own condition, and the output columns as typed trees. A grouped select() is one occurrence,
of the group (`projector.compile.grouping`), and its HAVING the condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table

from projections.inferred import column_type
from projections.read_model import ReadModel
from projections.values import Kind, UnsupportedTypeError, ValueType
from projector.compile.errors import CompileError, RefusedError, RefusedModelError
from projector.compile.expression import Column, Expression
from projector.compile.grouping import is_aggregate
from projector.compile.relation import Grouped, Occurrence, settled
from projector.compile.shape import Shape, group_of, refuse_clauses


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
        """Every column that the model's own select() reads; of groups, their state's."""
        for expression in (
            *(o.expression for o in self.outputs),
            *self.where,
            *(t for o in self.occurrences for t in o.on),
        ):
            yield from expression.columns()

    def settled(self, expression: Expression) -> bool:
        """Whether every value of it within a batch is among the images: it depends on no aggregate."""
        return settled(expression, self.occurrences)

    def groups(self) -> tuple[Grouped, ...]:
        """The grouped relations behind the model, each after those that it is made of."""
        found: dict[str, Grouped] = {}
        for occurrence in self.occurrences:
            if isinstance(occurrence.table, Grouped):
                for group in (*occurrence.table.inner(), occurrence.table):
                    found.setdefault(group.fullname, group)
        return tuple(found.values())

    def source_columns(self) -> Iterator[tuple[Table, str]]:
        """Every source table and column read, by the select() or by a group."""
        read = [(self.occurrences, list(self.columns()))]
        read += [
            (group.occurrences, [column for tree in group.expressions() for column in tree.columns()])
            for group in self.groups()
        ]
        for occurrences, columns in read:
            for column in columns:
                table = occurrences[column.occurrence].table
                if isinstance(table, Table):
                    yield table, column.name

    def source_tables(self) -> Iterator[Table]:
        """Every source table in any FROM, with repeats."""
        for occurrences in (self.occurrences, *(group.occurrences for group in self.groups())):
            for occurrence in occurrences:
                if isinstance(occurrence.table, Table):
                    yield occurrence.table


def analyse(model: ReadModel) -> Analysis:
    """Take a read model's select() apart; raises RefusedModelError."""
    try:
        return _analyse(model)
    except (CompileError, UnsupportedTypeError) as error:
        raise RefusedModelError(model.name, error) from error


def _analyse(model: ReadModel) -> Analysis:
    select = refuse_clauses(model.select, grouped=True)
    analysis = _of_group(model) if select._group_by_clauses else _of_rows(model, select)
    analysis.groups()  # each left join that they make of partners is refused here or never
    for output in analysis.key:
        if output.type.opaque or output.type.fixed_width_text or output.type.kind is Kind.BYTES:
            raise RefusedError(f"key column {output.name}", f"a {output.type.kind} can't be a key: cast it to text")
        if output.expression.nullable:
            raise RefusedError(
                f"key column {output.name} may be NULL",
                "use a column that is NOT NULL, coalesce it, or add WHERE … IS NOT NULL",
            )
        if not analysis.settled(output.expression):
            raise RefusedError(
                f"key column {output.name}",
                "depends on an aggregate, which can't move rows: use refresh=, or select it",
            )
    return analysis


def _of_rows(model: ReadModel, select: Select[Any]) -> Analysis:
    for column in select.selected_columns:
        if is_aggregate(getattr(column, "element", column)):
            raise RefusedError(
                f"column {column.name}",
                "an aggregate without GROUP BY has no key: add group_by() with the key's columns",
            )
    shape = Shape(select)
    if select.whereclause is not None:
        shape.restrict(select.whereclause)
    trees = [shape.scalars.translate(column) for column in select.selected_columns]
    shape.settle()
    outputs = tuple(
        _output(str(column.name), column, shape.with_nullability(tree))
        for column, tree in zip(select.selected_columns, trees, strict=True)
    )
    return Analysis(model=model, occurrences=shape.occurrences, where=shape.where, outputs=outputs)


def _of_group(model: ReadModel) -> Analysis:
    group, columns, having = group_of(model.select, occurrence=0)
    outputs = tuple(
        _output(str(column.name), column, columns[str(column.name)]) for column in model.select.selected_columns
    )
    occurrence = Occurrence(index=0, alias="o0", table=group.grouped())
    return Analysis(model=model, occurrences=(occurrence,), where=tuple(having), outputs=outputs)


def _output(name: str, column: Any, expression: Expression) -> Output:
    kind = column_type(column)
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
