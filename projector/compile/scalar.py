"""SQLAlchemy column expressions to typed trees; what has no exact counterpart in the replica is refused by name.

The types are Postgres's own: an operation is taken only between operands for which Postgres and the replica are known
to agree (same kind, no collation, no rounding that differs), and integers are checked against the width that Postgres
gives the result.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy.sql import elements, functions, operators
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.schema import Column as SourceColumn

from projections.values import Kind, UnsupportedTypeError, ValueType, value_type
from projector.compile.errors import RefusedError
from projector.compile.expression import Column, Conjunction, Constant, Expression, Operation
from projector.compile.functions import DAY, FIELDS, TIME_FIELDS, TRUNCATIONS, days_from_civil

BOOLEAN = ValueType(kind=Kind.BOOLEAN)
TEXT = ValueType(kind=Kind.TEXT)
_BYTEWISE = ("C", "POSIX", "ucs_basic", "pg_c_utf8")
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
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class Scalars:
    """A translator for one select(): `occurrence_of` maps each FROM element to its index."""

    def __init__(self, occurrence_of: Mapping[Any, int]) -> None:
        self._occurrence_of = occurrence_of
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
            case SourceColumn():
                return self._column(clause)
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
                    raise RefusedError(_text(clause), "a cast to varchar(n) cuts the text: cast to Text")
                return self._cast(self.translate(clause.clause), value_type(clause.type), clause)
            case elements.TypeCoerce():
                return self.translate(clause.clause)
            case elements.Extract():
                return self._extract(clause.field, self.translate(clause.expr), clause)
            case functions.FunctionElement():
                return self._function(clause)
        raise RefusedError(_text(clause), f"a {type(clause).__name__} can't be maintained: rewrite it, or use refresh=")

    # --- leaves

    def _wrapped(self, clause: Any) -> Expression:
        inner = self.translate(clause.element)
        if isinstance(clause, elements.AsBoolean) and clause.operator is operators.is_false:
            return _negated(_boolean(inner, clause))
        return inner

    def _column(self, column: SourceColumn[Any]) -> Expression:
        occurrence = self._occurrence_of.get(column.table)
        if occurrence is None:
            raise RefusedError(_text(column), "its table is not in the FROM of the select(): join it")
        return Column(
            type=value_type(column.type),
            nullable=bool(column.nullable),
            occurrence=occurrence,
            name=str(column.name),
        )

    def _constant(self, bind: elements.BindParameter[Any]) -> Expression:
        value = bind.effective_value
        if value is None and bind.required:
            raise RefusedError(_text(bind), "a parameter without a value: write the value")
        try:
            kind = value_type(bind.type)
        except UnsupportedTypeError as error:
            raise RefusedError(_text(bind), str(error)) from error
        if isinstance(value, float):
            raise RefusedError(_text(bind), "a float constant is not exact: write a decimal.Decimal")
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
        terms = tuple(_boolean(self.translate(part), part) for part in clause.clauses)
        if clause.operator is operators.and_:
            return Conjunction(type=BOOLEAN, nullable=any(t.nullable for t in terms), terms=terms)
        return _or(terms)

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
            _text(clause), f"the operator {name!r} is not in the list of what can be maintained (see the README)"
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
        raise RefusedError(_text(clause), "this chain of operators can't be maintained")

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
        return _same(_boolean(left, clause), _boolean(right, clause), "IS" if positive else "IS NOT")

    def _distinct(self, clause: elements.BinaryExpression[Any], word: str) -> Expression:
        left, right = aligned(*self._pair(clause), clause)
        return _same(left, right, word)

    def _in(self, clause: elements.BinaryExpression[Any], word: str) -> Expression:
        left = self.translate(clause.left)
        right = clause.right.element if isinstance(clause.right, elements.Grouping) else clause.right
        if isinstance(right, elements.BindParameter) and right.expanding:
            values = list(right.effective_value or ())
            items = [self._constant(elements.BindParameter(None, v, type_=clause.left.type)) for v in values]
        elif isinstance(right, elements.ClauseList | elements.ExpressionClauseList):
            items = [self.translate(part) for part in right.clauses]
        else:
            raise RefusedError(_text(clause), "IN takes a list of values here: join the table instead of a subquery")
        if not items or any(isinstance(i, Constant) and i.value is None for i in items):
            raise RefusedError(_text(clause), "IN needs at least one value, and none may be NULL")
        tests = [compare("=", left, item, clause) for item in items]
        return _or(tests) if word == "IN" else _negated(_or(tests))

    def _between(self, clause: elements.BinaryExpression[Any]) -> Expression:
        subject = self.translate(clause.left)
        low, high = (self.translate(bound) for bound in clause.right.clauses)
        if clause.modifiers.get("symmetric"):
            raise RefusedError(_text(clause), "BETWEEN SYMMETRIC can't be maintained: order the bounds")
        terms = (compare(">=", subject, low, clause), compare("<=", subject, high, clause))
        return Conjunction(type=BOOLEAN, nullable=any(t.nullable for t in terms), terms=terms)

    def _not_between(self, clause: elements.BinaryExpression[Any]) -> Expression:
        return _negated(self._between(clause))

    def _like(self, clause: elements.BinaryExpression[Any], word: str) -> Expression:
        left, right = self._pair(clause)
        for operand in (left, right):
            _require(operand, Kind.TEXT, clause)
            if operand.type.fixed_width_text or operand.type.collation == "enum":
                raise RefusedError(_text(clause), "LIKE takes text or varchar: cast the column to text")
        escape = clause.modifiers.get("escape")
        escape = "\\" if escape is None else escape
        if not isinstance(escape, str) or len(escape) != 1:
            raise RefusedError(_text(clause), "the ESCAPE of LIKE must be one character")
        if not isinstance(right, Constant):
            raise RefusedError(_text(clause), "the pattern of LIKE must be a constant")
        pattern = str(right.value)
        if (len(pattern) - len(pattern.rstrip(escape))) % 2:
            raise RefusedError(_text(clause), "the pattern of LIKE must not end with its escape character")
        quoted = escape.replace("'", "''").replace("{", "{{").replace("}", "}}")
        return _operation(f"({{}} {word} {{}} ESCAPE '{quoted}')", BOOLEAN, left, right)

    def _collate(self, clause: elements.BinaryExpression[Any]) -> Expression:
        inner = self.translate(clause.left)
        _require(inner, Kind.TEXT, clause)
        if inner.type.collation == "enum":
            raise RefusedError(_text(clause), "an enum has no collation: cast it to text")
        return replace(inner, type=replace(inner.type, collation=str(clause.right.collation).strip('"')))

    # --- computation

    def _arithmetic(self, function: str, left: Expression, right: Expression, clause: Any) -> Expression:
        kinds = {left.type.kind, right.type.kind}
        if kinds == {Kind.INTEGER}:
            bits = max(left.type.bits, right.type.bits)
            return _operation(f"{function}({bits}, {{}}, {{}})", ValueType(kind=Kind.INTEGER, bits=bits), left, right)
        if kinds <= {Kind.INTEGER, Kind.NUMERIC}:
            left, right = _as_numeric(left, clause), _as_numeric(right, clause)
            scale_left, scale_right = _scale(left, clause), _scale(right, clause)
            if function == "pg_multiply":
                scale = scale_left + scale_right
            else:
                scale = max(scale_left, scale_right)
                left, right = _scaled(left, scale), _scaled(right, scale)
            return _operation(f"{function}(64, {{}}, {{}})", ValueType(kind=Kind.NUMERIC, scale=scale), left, right)
        if kinds == {Kind.DATE, Kind.INTEGER} and function != "pg_multiply" and left.type.kind is Kind.DATE:
            name = "pg_date_plus" if function == "pg_add" else "pg_date_minus"
            return _operation(f"{name}({{}}, {{}})", left.type, left, right)
        if kinds == {Kind.DATE} and function == "pg_subtract":
            return _operation("pg_date_difference({}, {})", ValueType(kind=Kind.INTEGER, bits=32), left, right)
        raise RefusedError(
            _text(clause),
            f"arithmetic on {left.type.kind} and {right.type.kind} can't be maintained exactly: cast to numeric(p, s)",
        )

    def _divide(self, clause: elements.BinaryExpression[Any]) -> Expression:
        left, right = self._pair(clause)
        if {left.type.kind, right.type.kind} != {Kind.INTEGER}:
            raise RefusedError(_text(clause), "only integers can be divided exactly: use // on integers, or multiply")
        if not isinstance(right, Constant) or not right.value:
            raise RefusedError(
                _text(clause), "the divisor must be a constant other than 0, or Postgres could fail on a row"
            )
        bits = max(left.type.bits, right.type.bits)
        function = f"pg_divide({bits}, {{}}, {{}})" if clause.operator is operators.floordiv else "pg_modulo({}, {})"
        return _operation(function, ValueType(kind=Kind.INTEGER, bits=bits), left, right)

    def _concatenation(self, parts: Any, clause: Any) -> Expression:
        arguments = tuple(self.translate(part) for part in parts)
        for argument in arguments:
            _require(argument, Kind.TEXT, clause)
            if argument.type.fixed_width_text or argument.type.collation == "enum":
                raise RefusedError(_text(clause), "concatenate text or varchar: cast the others to text")
        return _operation("(" + " || ".join("{}" for _ in arguments) + ")", TEXT, *arguments)

    def _one(self, clause: elements.UnaryExpression[Any]) -> Expression:
        inner = self.translate(clause.element)
        if clause.operator is operators.inv:
            return _negated(_boolean(inner, clause))
        if clause.operator is operators.neg and inner.type.kind in (Kind.INTEGER, Kind.NUMERIC):
            bits = inner.type.bits or 64
            zero = Constant(type=inner.type, nullable=False, value=0)
            return _operation(f"pg_subtract({bits}, {{}}, {{}})", inner.type, zero, inner)
        raise RefusedError(_text(clause), "this operator can't be maintained")

    def _case(self, clause: elements.Case[Any]) -> Expression:
        if clause.value is not None:
            subject = self.translate(clause.value)
            tests = [compare("=", subject, self.translate(when), clause) for when, _ in clause.whens]
        else:
            tests = [_boolean(self.translate(when), when) for when, _ in clause.whens]
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

    def _extract(self, field: str, inner: Expression, clause: Any) -> Expression:
        field = field.lower()
        if field not in FIELDS or (inner.type.kind is Kind.TIME and field not in TIME_FIELDS):
            raise RefusedError(_text(clause), f"extract takes {', '.join(FIELDS)}")
        if inner.type.kind is Kind.DATE:
            if field in TIME_FIELDS:
                raise RefusedError(_text(clause), "a date has no time of day")
            inner = _operation("pg_date_timestamp({})", ValueType(kind=Kind.TIMESTAMP), inner)
        elif inner.type.kind not in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME):
            raise RefusedError(_text(clause), "extract takes a date, time or timestamp")
        result = _operation(f"pg_extract('{field}', {{}})", ValueType(kind=Kind.INTEGER, bits=32), inner)
        return replace(result, nullable=True)

    def _function(self, clause: functions.FunctionElement[Any]) -> Expression:
        name = str(getattr(clause, "name", type(clause).__name__)).lower()
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
                    raise RefusedError(_text(clause), f'{name} depends on the collation: write {name}(x.collate("C"))')
                return _operation(f"{name}({{}})", inner.type, inner)
            case (("length" | "char_length"), [inner]) if (
                inner.type.kind is Kind.TEXT and not inner.type.fixed_width_text
            ):
                return _operation("length({})", ValueType(kind=Kind.INTEGER, bits=32), inner)
            case "abs", [inner] if inner.type.kind in (Kind.INTEGER, Kind.NUMERIC) and not inner.type.opaque:
                return _operation(f"pg_checked({inner.type.bits or 64}, abs({{}}))", inner.type, inner)
            case "date_trunc", [Constant(value=str() as field), inner]:
                return self._date_trunc(field, inner, clause)
            case "date_trunc", [Constant(value=str() as field), inner, Constant(value="UTC" | "Etc/UTC")] if (
                inner.type.kind is Kind.TIMESTAMPTZ
            ):
                return self._date_trunc(field, inner, clause)
        raise RefusedError(
            _text(clause), f"the function {name} is not in the list of what can be maintained (see the README)"
        )

    def _date_trunc(self, field: str, inner: Expression, clause: Any) -> Expression:
        field = field.lower()
        if field not in TRUNCATIONS:
            raise RefusedError(_text(clause), f"date_trunc takes {', '.join(TRUNCATIONS)}")
        if inner.type.kind not in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
            raise RefusedError(_text(clause), "date_trunc takes a timestamp: cast the date")
        return _operation(f"pg_date_trunc('{field}', {{}})", inner.type, inner)

    def _cast(self, inner: Expression, to: ValueType, clause: Any) -> Expression:
        if isinstance(inner, Constant) and inner.value is None:
            return replace(inner, type=to)
        match inner.type.kind, to.kind:
            case Kind.INTEGER, Kind.INTEGER:
                return (
                    _operation(f"pg_checked({to.bits}, {{}})", to, inner)
                    if to.bits < inner.type.bits
                    else replace(inner, type=to)
                )
            case ((Kind.INTEGER | Kind.NUMERIC), Kind.NUMERIC) if not inner.type.opaque and not to.opaque:
                inner = _as_numeric(inner, clause)
                have, want = _scale(inner, clause), _scale(Constant(type=to, value=0), clause)
                moved = (
                    _scaled(inner, want) if want >= have else _operation(f"pg_rescale({{}}, {have - want})", to, inner)
                )
                return _operation(f"pg_precision({{}}, {to.precision})", to, moved)
            case Kind.NUMERIC, Kind.INTEGER if not inner.type.opaque:
                return _operation(f"pg_checked({to.bits}, pg_rescale({{}}, {inner.type.scale}))", to, inner)
            case Kind.BOOLEAN, Kind.INTEGER if to.bits == 32:
                return replace(inner, type=to)
            case Kind.BOOLEAN, Kind.TEXT if _plain_text(to):
                return _operation("(CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)", to, inner)
            case Kind.INTEGER, Kind.TEXT if _plain_text(to):
                return _operation("CAST({} AS TEXT)", to, inner)
            case Kind.NUMERIC, Kind.TEXT if _plain_text(to) and not inner.type.opaque:
                return _operation(f"pg_numeric_text({{}}, {inner.type.scale})", to, inner)
            case Kind.UUID, Kind.TEXT if _plain_text(to):
                return replace(inner, type=to)
            case Kind.DATE, Kind.TEXT if _plain_text(to):
                return _operation("pg_date_text({})", to, inner)
            case Kind.TEXT, Kind.TEXT if _plain_text(to) and not inner.type.fixed_width_text:
                return replace(inner, type=replace(to, collation=to.collation or _collation(inner)))
            case ((Kind.TIMESTAMP | Kind.TIMESTAMPTZ), Kind.DATE):
                return _operation("pg_timestamp_date({})", to, inner)
            case Kind.DATE, (Kind.TIMESTAMP | Kind.TIMESTAMPTZ):
                return _operation("pg_date_timestamp({})", to, inner)
            case ((Kind.TIMESTAMP | Kind.TIMESTAMPTZ), (Kind.TIMESTAMP | Kind.TIMESTAMPTZ)) if to.precision is None:
                return replace(inner, type=to)
            case have_kind, want_kind if have_kind == want_kind and inner.type == to:
                return inner
        raise RefusedError(_text(clause), f"a cast from {inner.type.kind} to {to.kind} can't be maintained exactly")


def compare(sign: str, left: Expression, right: Expression, clause: Any) -> Expression:
    """A comparison that Postgres and the replica agree on; raises RefusedError."""
    left, right = aligned(left, right, clause)
    for operand in (left, right):
        if operand.type.opaque:
            raise RefusedError(_text(clause), f"a {operand.type.kind} can be passed through but not compared")
        if operand.type.fixed_width_text:
            raise RefusedError(_text(clause), "char(n) ignores trailing spaces: cast it to text")
    if sign not in ("=", "<>"):
        collations = {operand.type.collation for operand in (left, right)}
        if left.type.kind is Kind.TEXT and not collations & set(_BYTEWISE):
            raise RefusedError(_text(clause), 'the order of text depends on the collation: write x.collate("C")')
        if left.type.kind is Kind.BOOLEAN:
            raise RefusedError(_text(clause), "booleans are not ordered here: write x or not_(x)")
    result = _operation(f"({{}} {sign} {{}})", BOOLEAN, left, right)
    return replace(result, equality=sign == "=") if isinstance(result, Operation) else result


def aligned(left: Expression, right: Expression, clause: Any) -> tuple[Expression, Expression]:
    """Two operands in one comparable form; raises RefusedError when Postgres would convert one of them inexactly."""
    left, right = unified([left, right], clause)
    return left, right


def unified(arguments: list[Expression], clause: Any) -> list[Expression]:
    """Arguments (of coalesce, case, a comparison) brought to one kind and scale; NULL constants fit any."""
    typed = [a for a in arguments if not (isinstance(a, Constant) and a.value is None)]
    if not typed:
        return arguments
    kinds = {argument.type.kind for argument in typed}
    if kinds == {Kind.INTEGER, Kind.NUMERIC} or kinds == {Kind.NUMERIC}:
        if any(argument.type.opaque for argument in typed):
            raise RefusedError(
                _text(clause), "a numeric without precision and scale is not comparable: declare numeric(p, s)"
            )
        numerics = [_as_numeric(argument, clause) for argument in arguments]
        scale = max(_scale(n, clause) for n in numerics if not (isinstance(n, Constant) and n.value is None))
        return [_scaled(argument, scale) for argument in numerics]
    if kinds == {Kind.UUID, Kind.TEXT} or len(kinds) > 1:
        names = " and ".join(sorted(kinds))
        raise RefusedError(_text(clause), f"mixes {names}: cast one side, so that the conversion is yours")
    first = max((a.type for a in typed), key=lambda t: (t.bits, t.collation or ""))
    return [replace(a, type=first) if isinstance(a, Constant) else a for a in arguments] if typed else arguments


def replica_constant(value: Any, kind: ValueType) -> int | str | bytes | None:
    """A Python value of a declaration in replica form."""
    match value:
        case None:
            return None
        case bool() | int():
            return int(value)
        case Decimal():
            if not value.is_finite():
                raise RefusedError(str(value), "only finite numbers can be compared")
            return int(value.scaleb(kind.scale or 0))
        case dt.datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
            return (aware - _EPOCH) // _MICROSECOND
        case dt.date():
            return days_from_civil(value.year, value.month, value.day)
        case dt.time():
            midnight = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
            return (dt.datetime.combine(midnight.date(), value, tzinfo=dt.UTC) - midnight) // _MICROSECOND % DAY
        case uuid.UUID():
            return str(value)
        case str():
            return str(uuid.UUID(value)) if kind.kind is Kind.UUID else value
        case bytes():
            return value
    raise RefusedError(repr(value), f"a {type(value).__name__} constant has no exact form here")


def _operation(template: str, kind: ValueType, *arguments: Expression) -> Operation:
    return Operation(type=kind, nullable=any(a.nullable for a in arguments), template=template, arguments=arguments)


def _or(terms: Any) -> Expression:
    terms = tuple(terms)
    if len(terms) == 1:
        return terms[0]  # type: ignore[no-any-return]
    nullable = any(t.nullable for t in terms)
    template = "(" + " OR ".join("{}" for _ in terms) + ")"
    return Operation(type=BOOLEAN, nullable=nullable, template=template, arguments=terms, strict=False)


def _negated(condition: Expression) -> Expression:
    return _operation("(NOT {})", BOOLEAN, condition)


def _same(left: Expression, right: Expression, word: str) -> Expression:
    return Operation(
        type=BOOLEAN, nullable=False, template=f"({{}} {word} {{}})", arguments=(left, right), strict=False
    )


def _boolean(expression: Expression, clause: Any) -> Expression:
    _require(expression, Kind.BOOLEAN, clause)
    return expression


def _require(expression: Expression, kind: Kind, clause: Any) -> None:
    null = isinstance(expression, Constant) and expression.value is None
    if expression.type.kind is not kind and not null:
        raise RefusedError(_text(clause), f"takes {kind}, not {expression.type.kind}: cast it")


def _as_numeric(expression: Expression, clause: Any) -> Expression:
    if expression.type.kind is Kind.INTEGER:
        digits = {16: 5, 32: 10}.get(expression.type.bits, 19)
        return replace(expression, type=ValueType(kind=Kind.NUMERIC, precision=digits, scale=0))
    return expression


def _scale(expression: Expression, clause: Any) -> int:
    if expression.type.scale is None:
        if isinstance(expression, Constant) and expression.value is None:
            return 0
        raise RefusedError(
            _text(clause), "a numeric without precision and scale is not exact here: declare numeric(p, s)"
        )
    return expression.type.scale


def _scaled(expression: Expression, scale: int) -> Expression:
    have = expression.type.scale or 0
    kind = ValueType(kind=Kind.NUMERIC, scale=scale)
    if have == scale or (isinstance(expression, Constant) and expression.value is None):
        return replace(expression, type=kind)
    if isinstance(expression, Constant):
        return replace(expression, type=kind, value=int(expression.value or 0) * 10 ** (scale - have))
    return _operation(f"pg_multiply(64, {{}}, {10 ** (scale - have)})", kind, expression)


def _plain_text(to: ValueType) -> bool:
    return not to.fixed_width_text and to.collation != "enum" and to.precision is None


def _collation(expression: Expression) -> str | None:
    return None if expression.type.collation == "enum" else expression.type.collation


def _text(clause: ColumnElement[Any] | Any) -> str:
    text = str(clause)
    return text if len(text) <= 200 else text[:197] + "…"
