"""SQLAlchemy column expressions to typed trees; what has no exact counterpart in the replica is refused by name.

The types are Postgres's own: an operation is taken only between operands for which Postgres and the replica are known
to agree (same kind, no collation, no rounding that differs), and integers are checked against the width that Postgres
gives the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy.sql import elements, functions, operators, selectable
from sqlalchemy.sql.schema import Column as SourceColumn

from projections.documents import Embedded, Truncated
from projections.values import Kind, UnsupportedTypeError, ValueType, value_type
from projector.compile.agreement import (
    BOOLEAN,
    aligned,
    as_numeric,
    boolean,
    clause_text,
    compare,
    either,
    negated,
    operation,
    replica_constant,
    require,
    same,
    scale_of,
    scaled,
    unified,
)
from projector.compile.casts import cast_to
from projector.compile.errors import RefusedError
from projector.compile.expression import Column, Conjunction, Constant, Expression, Operation
from projector.compile.instants import date_trunc, extract

TEXT = ValueType(kind=Kind.TEXT)
AGGREGATES = ("count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every")
_ASCII_CASE = ("C", "POSIX", "ucs_basic")  # pg_c_utf8 orders by bytes too, but knows the case of every letter
_COMPARISONS = {
    operators.eq: "=",
    operators.ne: "<>",
    operators.lt: "<",
    operators.le: "<=",
    operators.gt: ">",
    operators.ge: ">=",
}
_ARITHMETIC = {operators.add: "pg_add", operators.sub: "pg_subtract", operators.mul: "pg_multiply"}


class Scalars:
    """A translator for one select().

    occurrence_of: FROM element to its index. columns: a column of anything else in FROM, None when it has none.
    subquery: a scalar subquery as a tree; without it they are refused.
    """

    def __init__(
        self,
        occurrence_of: Mapping[Any, int],
        columns: Callable[[Any], Expression | None] | None = None,
        subquery: Callable[[Any], Expression] | None = None,
    ) -> None:
        self._occurrence_of = occurrence_of
        self._foreign = columns
        self._subquery = subquery
        self._binary: dict[Any, Callable[[elements.BinaryExpression[Any]], Expression]] = {
            operators.is_: self._is,
            operators.is_not: self._is,
            operators.is_distinct_from: lambda e: self._distinct(e, "IS NOT"),
            operators.is_not_distinct_from: lambda e: self._distinct(e, "IS"),
            operators.in_op: lambda e: self._in(e, "IN"),
            operators.not_in_op: lambda e: self._in(e, "NOT IN"),
            operators.between_op: self._between,
            operators.not_between_op: self._not_between,
            operators.like_op: lambda e: self._like(e, "LIKE"),
            operators.not_like_op: lambda e: self._like(e, "NOT LIKE"),
            operators.collate: self._collate,
            operators.floordiv: self._divide,
            operators.mod: self._divide,
        }

    def translate(self, clause: Any) -> Expression:
        """The tree of a column expression; raises RefusedError."""
        match clause:
            case elements.Label() | elements.Grouping() | elements.AsBoolean():
                return self._wrapped(clause)
            case SourceColumn() | elements.ColumnClause():
                return self._column(clause)
            case selectable.ScalarSelect() | Embedded() | Truncated() if self._subquery is not None:
                return self._subquery(clause)
            case elements.BindParameter():
                return self._constant(clause)
            case elements.Null():
                return Constant(type=TEXT, value=None)
            case elements.True_() | elements.False_():
                return Constant(type=BOOLEAN, nullable=False, value=int(isinstance(clause, elements.True_)))
            case elements.BooleanClauseList():
                return self._logic(clause)
            case elements.ExpressionClauseList():
                return self._chain(clause)
            case elements.BinaryExpression():
                return self._two(clause)
            case elements.UnaryExpression():
                return self._one(clause)
            case elements.Case():
                return self._case(clause)
            case elements.Cast():
                if getattr(clause.type, "length", None) is not None:
                    raise RefusedError(clause_text(clause), "a cast to varchar(n) cuts the text: cast to Text")
                return cast_to(self.translate(clause.clause), value_type(clause.type), clause)
            case elements.TypeCoerce():
                return self.translate(clause.clause)
            case elements.Extract():
                return extract(clause.field, self.translate(clause.expr), clause)
            case functions.FunctionElement():
                return self._function(clause)
        raise RefusedError(
            clause_text(clause), f"a {type(clause).__name__} can't be maintained: rewrite it, or use refresh="
        )

    # --- leaves

    def _wrapped(self, clause: Any) -> Expression:
        inner = self.translate(clause.element)
        if isinstance(clause, elements.AsBoolean) and clause.operator is operators.is_false:
            return negated(boolean(inner, clause))
        return inner

    def _column(self, column: Any) -> Expression:
        if self._foreign is not None and (found := self._foreign(column)) is not None:
            return found
        occurrence = self._occurrence_of.get(column.table)
        if occurrence is None:
            raise RefusedError(clause_text(column), "its table is not in the FROM of the select(): join it")
        return Column(
            type=value_type(column.type),
            nullable=bool(column.nullable),
            occurrence=occurrence,
            name=str(column.name),
        )

    def _constant(self, bind: elements.BindParameter[Any]) -> Expression:
        value = bind.effective_value
        if value is None and bind.required:
            raise RefusedError(clause_text(bind), "a parameter without a value: write the value")
        try:
            kind = value_type(bind.type)
        except UnsupportedTypeError as error:
            raise RefusedError(clause_text(bind), str(error)) from error
        if isinstance(value, float):
            raise RefusedError(clause_text(bind), "a float constant is not exact: write a decimal.Decimal")
        if isinstance(value, bool):
            kind = BOOLEAN
        elif isinstance(value, int) and kind.kind in (Kind.INTEGER, Kind.NUMERIC):
            bits = 64 if kind.bits == 64 or not -(1 << 31) <= value < 1 << 31 else 32
            kind = ValueType(kind=Kind.INTEGER, bits=bits)
        elif isinstance(value, Decimal):
            kind = ValueType(kind=Kind.NUMERIC, scale=max(0, -int(value.as_tuple().exponent)))
        return Constant(type=kind, nullable=value is None, value=replica_constant(value, kind))

    # --- conditions

    def _logic(self, clause: elements.BooleanClauseList) -> Expression:
        terms = tuple(boolean(self.translate(part), part) for part in clause.clauses)
        if clause.operator is operators.and_:
            return Conjunction(type=BOOLEAN, nullable=any(t.nullable for t in terms), terms=terms)
        return either(terms)

    def _two(self, clause: elements.BinaryExpression[Any]) -> Expression:
        operator = clause.operator
        if operator in self._binary:
            return self._binary[operator](clause)
        if operator in _COMPARISONS:
            left, right = self._pair(clause)
            return compare(_COMPARISONS[operator], left, right, clause)
        if operator in _ARITHMETIC:
            return self._arithmetic(
                _ARITHMETIC[operator], self.translate(clause.left), self.translate(clause.right), clause
            )
        if operator is operators.concat_op:
            return self._concatenation((clause.left, clause.right), clause)
        name = getattr(operator, "opstring", None) or getattr(operator, "__name__", str(operator))
        raise RefusedError(
            clause_text(clause), f"the operator {name!r} is not in the list of what can be maintained (see the README)"
        )

    def _chain(self, clause: Any) -> Expression:
        parts = list(clause.clauses)
        if clause.operator is operators.concat_op:
            return self._concatenation(parts, clause)
        if clause.operator in _ARITHMETIC:
            result = self.translate(parts[0])
            for part in parts[1:]:
                result = self._arithmetic(_ARITHMETIC[clause.operator], result, self.translate(part), clause)
            return result
        raise RefusedError(clause_text(clause), "this chain of operators can't be maintained")

    def _pair(self, clause: elements.BinaryExpression[Any]) -> tuple[Expression, Expression]:
        return self.translate(clause.left), self.translate(clause.right)

    def _is(self, clause: elements.BinaryExpression[Any]) -> Expression:
        left = self.translate(clause.left)
        positive = clause.operator is operators.is_
        if isinstance(clause.right, elements.Null):
            template = "({} IS NULL)" if positive else "({} IS NOT NULL)"
            return Operation(
                type=BOOLEAN,
                nullable=False,
                template=template,
                arguments=(left,),
                strict=False,
                not_null_test=not positive,
            )
        right = self.translate(clause.right)
        return same(boolean(left, clause), boolean(right, clause), "IS" if positive else "IS NOT")

    def _distinct(self, clause: elements.BinaryExpression[Any], word: str) -> Expression:
        left, right = aligned(*self._pair(clause), clause)
        return same(left, right, word)

    def _in(self, clause: elements.BinaryExpression[Any], word: str) -> Expression:
        left = self.translate(clause.left)
        right = clause.right.element if isinstance(clause.right, elements.Grouping) else clause.right
        if isinstance(right, elements.BindParameter) and right.expanding:
            values = list(right.effective_value or ())
            items = [self._constant(elements.BindParameter(None, v, type_=clause.left.type)) for v in values]
        elif isinstance(right, elements.ClauseList | elements.ExpressionClauseList):
            items = [self.translate(part) for part in right.clauses]
        else:
            raise RefusedError(
                clause_text(clause), "IN takes a list of values here: join the table instead of a subquery"
            )
        if not items or any(isinstance(i, Constant) and i.value is None for i in items):
            raise RefusedError(clause_text(clause), "IN needs at least one value, and none may be NULL")
        tests = [compare("=", left, item, clause) for item in items]
        return either(tests) if word == "IN" else negated(either(tests))

    def _between(self, clause: elements.BinaryExpression[Any]) -> Expression:
        subject = self.translate(clause.left)
        low, high = (self.translate(bound) for bound in clause.right.clauses)
        if clause.modifiers.get("symmetric"):
            raise RefusedError(clause_text(clause), "BETWEEN SYMMETRIC can't be maintained: order the bounds")
        terms = (compare(">=", subject, low, clause), compare("<=", subject, high, clause))
        return Conjunction(type=BOOLEAN, nullable=any(t.nullable for t in terms), terms=terms)

    def _not_between(self, clause: elements.BinaryExpression[Any]) -> Expression:
        return negated(self._between(clause))

    def _like(self, clause: elements.BinaryExpression[Any], word: str) -> Expression:
        left, right = self._pair(clause)
        for operand in (left, right):
            require(operand, Kind.TEXT, clause)
            if operand.type.fixed_width_text or operand.type.collation == "enum":
                raise RefusedError(clause_text(clause), "LIKE takes text or varchar: cast the column to text")
        escape = clause.modifiers.get("escape")
        escape = "\\" if escape is None else escape
        if not isinstance(escape, str) or len(escape) != 1:
            raise RefusedError(clause_text(clause), "the ESCAPE of LIKE must be one character")
        if not isinstance(right, Constant):
            raise RefusedError(clause_text(clause), "the pattern of LIKE must be a constant")
        pattern = str(right.value)
        if (len(pattern) - len(pattern.rstrip(escape))) % 2:
            raise RefusedError(clause_text(clause), "the pattern of LIKE must not end with its escape character")
        quoted = escape.replace("'", "''").replace("{", "{{").replace("}", "}}")
        return operation(f"({{}} {word} {{}} ESCAPE '{quoted}')", BOOLEAN, left, right)

    def _collate(self, clause: elements.BinaryExpression[Any]) -> Expression:
        inner = self.translate(clause.left)
        require(inner, Kind.TEXT, clause)
        if inner.type.collation == "enum":
            raise RefusedError(clause_text(clause), "an enum has no collation: cast it to text")
        return replace(inner, type=replace(inner.type, collation=str(clause.right.collation).strip('"')))

    # --- computation

    def _arithmetic(self, function: str, left: Expression, right: Expression, clause: Any) -> Expression:
        kinds = {left.type.kind, right.type.kind}
        if kinds == {Kind.INTEGER}:
            bits = max(left.type.bits, right.type.bits)
            return operation(f"{function}({bits}, {{}}, {{}})", ValueType(kind=Kind.INTEGER, bits=bits), left, right)
        if kinds <= {Kind.INTEGER, Kind.NUMERIC}:
            left, right = as_numeric(left, clause), as_numeric(right, clause)
            scale_left, scale_right = scale_of(left, clause), scale_of(right, clause)
            if function == "pg_multiply":
                scale = scale_left + scale_right
            else:
                scale = max(scale_left, scale_right)
                left, right = scaled(left, scale), scaled(right, scale)
            return operation(f"{function}(64, {{}}, {{}})", ValueType(kind=Kind.NUMERIC, scale=scale), left, right)
        if kinds == {Kind.DATE, Kind.INTEGER} and function != "pg_multiply" and left.type.kind is Kind.DATE:
            name = "pg_date_plus" if function == "pg_add" else "pg_date_minus"
            return operation(f"{name}({{}}, {{}})", left.type, left, right)
        if kinds == {Kind.DATE} and function == "pg_subtract":
            return operation("pg_date_difference({}, {})", ValueType(kind=Kind.INTEGER, bits=32), left, right)
        raise RefusedError(
            clause_text(clause),
            f"arithmetic on {left.type.kind} and {right.type.kind} can't be maintained exactly: cast to numeric(p, s)",
        )

    def _divide(self, clause: elements.BinaryExpression[Any]) -> Expression:
        left, right = self._pair(clause)
        if {left.type.kind, right.type.kind} != {Kind.INTEGER}:
            raise RefusedError(
                clause_text(clause), "only integers can be divided exactly: use // on integers, or multiply"
            )
        if not isinstance(right, Constant) or not right.value:
            raise RefusedError(
                clause_text(clause), "the divisor must be a constant other than 0, or Postgres could fail on a row"
            )
        bits = max(left.type.bits, right.type.bits)
        function = f"pg_divide({bits}, {{}}, {{}})" if clause.operator is operators.floordiv else "pg_modulo({}, {})"
        return operation(function, ValueType(kind=Kind.INTEGER, bits=bits), left, right)

    def _concatenation(self, parts: Any, clause: Any) -> Expression:
        arguments = tuple(self.translate(part) for part in parts)
        for argument in arguments:
            require(argument, Kind.TEXT, clause)
            if argument.type.fixed_width_text or argument.type.collation == "enum":
                raise RefusedError(clause_text(clause), "concatenate text or varchar: cast the others to text")
        return operation("(" + " || ".join("{}" for _ in arguments) + ")", TEXT, *arguments)

    def _one(self, clause: elements.UnaryExpression[Any]) -> Expression:
        if clause.operator is operators.exists:
            raise RefusedError(clause_text(clause), "EXISTS can't be maintained: compare a count() of the rows with 0")
        inner = self.translate(clause.element)
        if clause.operator is operators.inv:
            return negated(boolean(inner, clause))
        if clause.operator is operators.neg and inner.type.kind in (Kind.INTEGER, Kind.NUMERIC):
            bits = inner.type.bits or 64
            zero = Constant(type=inner.type, nullable=False, value=0)
            return operation(f"pg_subtract({bits}, {{}}, {{}})", inner.type, zero, inner)
        raise RefusedError(clause_text(clause), "this operator can't be maintained")

    def _case(self, clause: elements.Case[Any]) -> Expression:
        if clause.value is not None:
            subject = self.translate(clause.value)
            tests = [compare("=", subject, self.translate(when), clause) for when, _ in clause.whens]
        else:
            tests = [boolean(self.translate(when), when) for when, _ in clause.whens]
        results = [self.translate(result) for _, result in clause.whens]
        results.append(self.translate(clause.else_) if clause.else_ is not None else Constant(type=TEXT, value=None))
        results = unified(results, clause)
        arms = " ".join("WHEN {} THEN {}" for _ in tests)
        arguments = [part for pair in zip(tests, results[:-1], strict=True) for part in pair]
        return Operation(
            type=results[0].type,
            nullable=any(result.nullable for result in results),
            template=f"(CASE {arms} ELSE {{}} END)",
            arguments=(*arguments, results[-1]),
            strict=False,
        )

    def _function(self, clause: functions.FunctionElement[Any]) -> Expression:
        name = str(getattr(clause, "name", type(clause).__name__)).lower()
        if name in AGGREGATES:
            raise RefusedError(f"{name}(…)", "an aggregate stands in a select() with GROUP BY, not inside another one")
        arguments = [self.translate(part) for part in clause.clauses]
        match name, arguments:
            case "coalesce", [_, *_]:
                arguments = unified(arguments, clause)
                nullable = all(argument.nullable for argument in arguments)
                template = "COALESCE(" + ", ".join("{}" for _ in arguments) + ")" if len(arguments) > 1 else "{}"
                kind = arguments[0].type
                return Operation(
                    type=kind, nullable=nullable, template=template, arguments=tuple(arguments), strict=False
                )
            case "nullif", [left, right]:
                left, right = aligned(left, right, clause)
                return Operation(type=left.type, template="NULLIF({}, {})", arguments=(left, right), strict=False)
            case (("lower" | "upper"), [inner]) if inner.type.kind is Kind.TEXT:
                if inner.type.collation not in _ASCII_CASE:
                    raise RefusedError(
                        clause_text(clause), f'{name} depends on the collation: write {name}(x.collate("C"))'
                    )
                return operation(f"{name}({{}})", inner.type, inner)
            case (("length" | "char_length"), [inner]) if (
                inner.type.kind is Kind.TEXT and not inner.type.fixed_width_text
            ):
                return operation("length({})", ValueType(kind=Kind.INTEGER, bits=32), inner)
            case "abs", [inner] if inner.type.kind in (Kind.INTEGER, Kind.NUMERIC) and not inner.type.opaque:
                return operation(f"pg_checked({inner.type.bits or 64}, abs({{}}))", inner.type, inner)
            case "date_trunc", [Constant(value=str() as field), inner]:
                return date_trunc(field, inner, clause)
            case "date_trunc", [Constant(value=str() as field), inner, Constant(value="UTC" | "Etc/UTC")] if (
                inner.type.kind is Kind.TIMESTAMPTZ
            ):
                return date_trunc(field, inner, clause)
        raise RefusedError(
            clause_text(clause), f"the function {name} is not in the list of what can be maintained (see the README)"
        )
