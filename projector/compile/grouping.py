"""GROUP BY and its aggregates as trees over a group's state, collecting what that state must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.sql import elements, functions, operators

from projections.values import Kind, ValueType
from projector.compile.agreement import BOOLEAN, BYTEWISE, boolean, clause_text, compare, replica_constant, require
from projector.compile.errors import RefusedError
from projector.compile.expression import Column, Constant, Expression, Operation
from projector.compile.relation import (
    COUNT,
    ROWS,
    Distinct,
    Extreme,
    Grouped,
    GroupKey,
    Lookups,
    Measure,
    Occurrence,
    named,
    settled,
)
from projector.compile.scalar import AGGREGATES, Scalars

_ORDERED = (Kind.INTEGER, Kind.NUMERIC, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TEXT)


def is_aggregate(clause: Any) -> bool:
    """Whether a clause is a call of an aggregate function, with or without FILTER."""
    if isinstance(clause, elements.FunctionFilter):
        return True
    return isinstance(clause, functions.FunctionElement) and _name(clause) in AGGREGATES


class GroupScalars(Scalars):
    """A translator of what stands outside the aggregates of a grouped select(), collecting the aggregates on its way.

    rows: translates an expression over the grouped rows. occurrence: the group's place in the select() around it.
    empty: a scalar subquery, whose count over no rows is zero and not NULL.
    """

    def __init__(
        self,
        rows: Callable[[Any], Expression],
        occurrences: tuple[Occurrence, ...],
        where: tuple[Expression, ...],
        *,
        occurrence: int,
        empty: bool = False,
    ) -> None:
        super().__init__({})
        self.rows = rows
        self._occurrences, self._where = occurrences, where
        self._occurrence, self._empty = occurrence, empty
        self._keys: list[GroupKey] = []
        one = Constant(type=COUNT, nullable=False, value=1)
        self._measures = [Measure(name=ROWS, expression=one, what="count(*)")]
        self._extremes: list[tuple[str, Expression, bool]] = []
        self._distincts: list[tuple[str, Expression]] = []
        self._listed: list[Expression] = []
        self._looked_up: list[tuple[str, tuple[str, ...]]] = []

    def key(self, tree: Expression, clause: Any) -> Column:
        """Add an expression of the GROUP BY; its column."""
        if tree.type.opaque or tree.type.fixed_width_text:
            raise RefusedError(clause_text(clause), f"a {tree.type.kind} can't be grouped by: cast it to text")
        if not settled(tree, self._occurrences):
            raise RefusedError(clause_text(clause), "a group can't be made of another group's aggregates: use refresh=")
        for key in self._keys:
            if key.expression == tree:
                return self._column_of(key.name, tree.type, nullable=tree.nullable)
        self._keys.append(GroupKey(name=f"k{len(self._keys)}", expression=tree))
        return self._column_of(self._keys[-1].name, tree.type, nullable=tree.nullable)

    def translate(self, clause: Any) -> Expression:
        if is_aggregate(clause):
            return self._aggregate(clause)
        if isinstance(clause, functions.FunctionElement) and _name(clause).endswith("_agg"):
            raise RefusedError(clause_text(clause), "this aggregate can't be maintained: use embedded(), or refresh=")
        try:
            tree = self.rows(clause)
        except RefusedError:
            return super().translate(clause)
        if isinstance(tree, Constant):
            return tree
        for key in self._keys:
            if key.expression == tree:
                return self._column_of(key.name, tree.type, nullable=tree.nullable)
        return super().translate(clause)

    def reads(self, listed: list[Expression], looked_up: Lookups) -> None:
        """Note what a document of the group's rows reads beside the state."""
        self._listed += listed
        self._looked_up += looked_up

    def row_count(self) -> Column:
        """The number of rows behind a group: never NULL in one that is there."""
        return self._column_of(ROWS, COUNT)

    def grouped(self) -> Grouped:
        """The relation with everything that was asked for; raises RefusedError."""
        for occurrence in self._occurrences:
            for key in occurrence.table.keys if isinstance(occurrence.table, Grouped) else ():
                if key.expression.nullable and not self._rejects_null(occurrence, key):
                    raise RefusedError(
                        "GROUP BY over a subquery whose own group may be NULL",
                        "which is not kept: coalesce that column in the subquery, or add WHERE … IS NOT NULL",
                    )
        keys = tuple(self._keys)
        extremes = tuple(
            Extreme(name=name, type=tree.type, entries=self._entries(tree), last=last)
            for name, tree, last in self._extremes
        )
        distincts = tuple(Distinct(name=name, entries=self._entries(tree)) for name, tree in self._distincts)
        return named(
            Grouped(
                fullname="",
                occurrences=self._occurrences,
                where=self._where,
                keys=keys,
                measures=tuple(self._measures),
                extremes=extremes,
                distincts=distincts,
                listed=tuple(self._listed),
                looked_up=tuple(self._looked_up),
            )
        )

    def _rejects_null(self, occurrence: Occurrence, key: GroupKey) -> bool:
        """Whether a condition is sure to fail where another group's key is NULL."""
        return any(
            isinstance(term, Operation)
            and (term.strict or term.not_null_test)
            and any(
                isinstance(part, Column) and (part.occurrence, part.name) == (occurrence.index, key.name)
                for part in term.arguments
            )
            for term in (occurrence.on if occurrence.optional else self._where)
        )

    # --- aggregates

    def _column(self, column: Any) -> Expression:
        raise RefusedError(
            clause_text(column),
            "must be in GROUP BY or inside an aggregate: add it to group_by(), or join the grouped subquery to its table",
        )

    def _aggregate(self, clause: Any) -> Expression:
        condition: Expression | None = None
        call = clause
        if isinstance(clause, elements.FunctionFilter):
            call = clause.func
            condition = boolean(self.rows(clause.criterion), clause)
        name, arguments = _name(call), list(call.clauses)
        if name not in AGGREGATES:
            raise RefusedError(clause_text(clause), "this aggregate can't be maintained: use refresh=")
        if name == "count" and (not arguments or getattr(arguments[0], "name", None) == "*"):
            return self._count(condition)
        if len(arguments) != 1:
            raise RefusedError(clause_text(clause), f"{name} takes one argument here")
        distinct = isinstance(arguments[0], elements.UnaryExpression) and (
            arguments[0].operator is operators.distinct_op
        )
        tree = self.rows(arguments[0].element if distinct else arguments[0])
        if condition is not None:
            tree = _when(condition, tree)
        if distinct and name in ("count", "sum", "avg"):
            if name != "count":
                raise RefusedError(clause_text(clause), f"{name}(DISTINCT …) can't be maintained: use refresh=")
            return self._count_distinct(tree, clause)
        match name:
            case "count":
                return self._count(None if not tree.nullable else _is_not_null(tree))
            case "sum":
                return self._sum(tree, clause)
            case "avg":
                return self._average(tree, clause)
            case "min" | "max":
                return self._extreme(tree, name == "max", clause)
        return self._all_or_any(tree, name != "bool_or", clause)

    def _count(self, condition: Expression | None) -> Expression:
        if condition is None:
            column: Expression = self._column_of(ROWS, COUNT)
        elif condition.nullable:
            column = self._measure(_integer("({} IS TRUE)", condition), f"count({condition})")
        else:
            column = self._measure(_integer("{}", condition), "count(…)")
        return self.zero_if_empty(column)

    def _sum(self, tree: Expression, clause: Any) -> Expression:
        _require_number(tree, clause)
        kind = COUNT if tree.type.kind is Kind.INTEGER else replace(tree.type, precision=None)
        if not tree.nullable:
            return replace(self._measure(tree, clause_text(clause)), type=kind)
        total = self._measure(_integer("COALESCE({}, 0)", tree), clause_text(clause))
        return _when(self._some(tree), replace(total, type=kind))

    def _average(self, tree: Expression, clause: Any) -> Expression:
        _require_number(tree, clause)
        total = self._measure(_integer("COALESCE({}, 0)", tree) if tree.nullable else tree, clause_text(clause))
        count = self._column_of(ROWS, COUNT) if not tree.nullable else self._measure(_is_not_null(tree), "count")
        return Operation(
            type=ValueType(kind=Kind.NUMERIC),
            nullable=tree.nullable,
            template=f"pg_average({{}}, {{}}, {tree.type.scale or 0})",
            arguments=(total, count),
        )

    def _extreme(self, tree: Expression, last: bool, clause: Any) -> Expression:
        if tree.type.opaque or tree.type.kind not in _ORDERED or tree.type.fixed_width_text:
            raise RefusedError(clause_text(clause), f"min and max of {tree.type.kind} can't be maintained")
        if tree.type.kind is Kind.TEXT and tree.type.collation not in BYTEWISE:
            raise RefusedError(clause_text(clause), 'the order of text depends on the collation: write x.collate("C")')
        self._require_settled(tree, clause)
        for name, known, at in self._extremes:
            if known == tree and at == last:
                return self._column_of(name, tree.type, nullable=tree.nullable)
        self._extremes.append((f"x{len(self._extremes)}", tree, last))
        return self._column_of(self._extremes[-1][0], tree.type, nullable=tree.nullable)

    def _count_distinct(self, tree: Expression, clause: Any) -> Expression:
        if tree.type.opaque or tree.type.fixed_width_text:
            raise RefusedError(clause_text(clause), f"distinct values of {tree.type.kind} can't be told: cast to text")
        self._require_settled(tree, clause)
        name = next((name for name, known in self._distincts if known == tree), None)
        if name is None:
            name = f"d{len(self._distincts)}"
            self._distincts.append((name, tree))
        return self.zero_if_empty(self._column_of(name, COUNT))

    def _all_or_any(self, tree: Expression, every: bool, clause: Any) -> Expression:
        require(tree, Kind.BOOLEAN, clause)
        found = self._measure(_integer("({} IS FALSE)" if every else "({} IS TRUE)", tree), clause_text(clause))
        zero = Constant(type=COUNT, nullable=False, value=0)
        result = compare("=" if every else ">", found, zero, clause)
        return result if not tree.nullable else _when(self._some(tree), result)

    def _some(self, tree: Expression) -> Expression:
        """The group has a row for which the tree is not NULL."""
        zero = Constant(type=COUNT, nullable=False, value=0)
        return compare(">", self._measure(_is_not_null(tree), "count"), zero, None)

    def _require_settled(self, tree: Expression, clause: Any) -> None:
        if not settled(tree, self._occurrences):
            raise RefusedError(clause_text(clause), "of another group's aggregate can't be maintained: use refresh=")

    def _measure(self, tree: Expression, what: str) -> Column:
        for measure in self._measures:
            if measure.expression == tree:
                return self._column_of(measure.name, COUNT)
        self._measures.append(Measure(name=f"m{len(self._measures)}", expression=tree, what=what))
        return self._column_of(self._measures[-1].name, COUNT)

    def _entries(self, tree: Expression) -> Grouped:
        keys = (*self._keys, GroupKey(name=f"k{len(self._keys)}", expression=tree))
        return named(
            Grouped(
                fullname="",
                occurrences=self._occurrences,
                where=self._where,
                keys=keys,
                measures=(self._measures[0],),
            )
        )

    def _column_of(self, name: str, kind: ValueType, *, nullable: bool = False) -> Column:
        return Column(type=kind, nullable=nullable, occurrence=self._occurrence, name=name)

    def zero_if_empty(self, column: Expression) -> Expression:
        """A count, which is zero over no rows when the group is that of a correlated subquery."""
        if not self._empty:
            return column
        zero = Constant(type=COUNT, nullable=False, value=0)
        return Operation(
            type=COUNT, nullable=False, template="COALESCE({}, {})", arguments=(column, zero), strict=False
        )


def _name(call: Any) -> str:
    return str(getattr(call, "name", "")).lower()


def _integer(template: str, tree: Expression) -> Operation:
    return Operation(type=COUNT, nullable=False, template=template, arguments=(tree,), strict=False)


def _is_not_null(tree: Expression) -> Operation:
    return Operation(
        type=BOOLEAN,
        nullable=False,
        template="({} IS NOT NULL)",
        arguments=(tree,),
        strict=False,
        not_null_test=True,
    )


def _when(condition: Expression, tree: Expression) -> Operation:
    nothing = Constant(type=tree.type, value=replica_constant(None, tree.type))
    return Operation(
        type=tree.type,
        nullable=True,
        template="(CASE WHEN {} THEN {} ELSE {} END)",
        arguments=(condition, tree, nothing),
        strict=False,
    )


def _require_number(tree: Expression, clause: Any) -> None:
    if tree.type.kind not in (Kind.INTEGER, Kind.NUMERIC) or tree.type.opaque:
        raise RefusedError(
            clause_text(clause),
            f"a sum of {tree.type.kind} is not exact here: only integers and numeric(p, s) up to 18 digits are; cast it",
        )
