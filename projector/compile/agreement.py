"""Where Postgres and the replica agree: the operands that may meet, and the nodes that their meeting makes.

Operands are brought to one kind and scale, or refused by name when Postgres would convert one of them inexactly or by a
rule that the replica does not have (a collation, trailing spaces, an enum's order).
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy.exc import UnsupportedCompilationError

from projections.values import Kind, ValueType
from projector.compile.errors import RefusedError
from projector.compile.expression import Constant, Expression, Operation
from projector.compile.functions import DAY, days_from_civil

BOOLEAN = ValueType(kind=Kind.BOOLEAN)
BYTEWISE = ("C", "POSIX", "ucs_basic", "pg_c_utf8")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def compare(sign: str, left: Expression, right: Expression, clause: Any) -> Expression:
    """A comparison that Postgres and the replica agree on; raises RefusedError."""
    left, right = aligned(left, right, clause)
    if sign not in ("=", "<>"):
        collations = {operand.type.collation for operand in (left, right)}
        if left.type.kind is Kind.TEXT and not collations & set(BYTEWISE):
            raise RefusedError(clause_text(clause), 'the order of text depends on the collation: write x.collate("C")')
        if left.type.kind is Kind.BOOLEAN:
            raise RefusedError(clause_text(clause), "booleans are not ordered here: write x or not_(x)")
    result = operation(f"({{}} {sign} {{}})", BOOLEAN, left, right)
    return replace(result, equality=sign == "=") if isinstance(result, Operation) else result


def aligned(left: Expression, right: Expression, clause: Any) -> tuple[Expression, Expression]:
    """Two operands in one comparable form; raises RefusedError when Postgres would convert one of them inexactly."""
    for operand in (left, right):
        if operand.type.opaque:
            way = ": declare numeric(p, s)" if operand.type.kind is Kind.NUMERIC else ""
            raise RefusedError(
                clause_text(clause), f"a {operand.type.kind} can be passed through but not compared{way}"
            )
        if operand.type.fixed_width_text:
            raise RefusedError(
                clause_text(clause), "char(n) ignores trailing spaces: declare the column varchar or text"
            )
    left, right = unified([left, right], clause)
    return left, right


def unified(arguments: list[Expression], clause: Any) -> list[Expression]:
    """Arguments (of coalesce, case, a comparison) brought to one kind and scale; NULL constants fit any."""
    typed = [a for a in arguments if not (isinstance(a, Constant) and a.value is None)]
    if not typed:
        return arguments
    kinds = {argument.type.kind for argument in typed}
    if len(typed) > 1:
        for argument in typed:  # real widens to double precision, char(n) loses its spaces: the values would change
            if argument.type.opaque or argument.type.fixed_width_text:
                name = "char(n)" if argument.type.fixed_width_text else argument.type.kind
                raise RefusedError(
                    clause_text(clause),
                    f"a {name} can be passed through but not mixed with other values: select it alone",
                )
    if kinds == {Kind.INTEGER, Kind.NUMERIC} or kinds == {Kind.NUMERIC}:
        if any(argument.type.opaque for argument in typed):
            raise RefusedError(
                clause_text(clause), "a numeric without precision and scale is not comparable: declare numeric(p, s)"
            )
        numerics = [as_numeric(argument, clause) for argument in arguments]
        scale = max(scale_of(n, clause) for n in numerics if not (isinstance(n, Constant) and n.value is None))
        return [scaled(argument, scale) for argument in numerics]
    if kinds == {Kind.UUID, Kind.TEXT} or len(kinds) > 1:
        names = " and ".join(sorted(kinds))
        raise RefusedError(clause_text(clause), f"mixes {names}: cast one side, so that the conversion is yours")
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
        case str() if kind.kind is Kind.UUID:
            try:
                return str(uuid.UUID(value))
            except ValueError as error:
                raise RefusedError(repr(value), "is no uuid") from error
        case str():
            return value
        case bytes():
            return value
    raise RefusedError(repr(value), f"a {type(value).__name__} constant has no exact form here")


def operation(template: str, kind: ValueType, *arguments: Expression) -> Operation:
    """A strict operation: NULL in, NULL out; raises RefusedError for arguments that can only be passed through."""
    for argument in arguments:
        if argument.type.opaque or argument.type.fixed_width_text:
            name = "char(n)" if argument.type.fixed_width_text else f"{argument.type.kind} without an exact form"
            raise RefusedError(f"an operation on a {name}", "it can be selected, but not computed with")
    return Operation(type=kind, nullable=any(a.nullable for a in arguments), template=template, arguments=arguments)


def either(terms: Any) -> Expression:
    """``a OR b …``."""
    terms = tuple(terms)
    if len(terms) == 1:
        return terms[0]  # type: ignore[no-any-return]
    nullable = any(t.nullable for t in terms)
    template = "(" + " OR ".join("{}" for _ in terms) + ")"
    return Operation(type=BOOLEAN, nullable=nullable, template=template, arguments=terms, strict=False)


def negated(condition: Expression) -> Expression:
    """``NOT a``."""
    return operation("(NOT {})", BOOLEAN, condition)


def same(left: Expression, right: Expression, word: str) -> Expression:
    """``IS`` or ``IS NOT`` between two values: never NULL."""
    return Operation(
        type=BOOLEAN, nullable=False, template=f"({{}} {word} {{}})", arguments=(left, right), strict=False
    )


def boolean(expression: Expression, clause: Any) -> Expression:
    """The condition itself; raises RefusedError for anything else."""
    require(expression, Kind.BOOLEAN, clause)
    return expression


def require(expression: Expression, kind: Kind, clause: Any) -> None:
    """Raise RefusedError unless the expression is of the kind, or NULL."""
    null = isinstance(expression, Constant) and expression.value is None
    if expression.type.kind is not kind and not null:
        raise RefusedError(clause_text(clause), f"takes {kind}, not {expression.type.kind}: cast it")


def as_numeric(expression: Expression, clause: Any) -> Expression:
    """An integer as a numeric of scale 0; others as they are."""
    if expression.type.kind is Kind.INTEGER:
        digits = {16: 5, 32: 10}.get(expression.type.bits, 19)
        return replace(expression, type=ValueType(kind=Kind.NUMERIC, precision=digits, scale=0))
    return expression


def scale_of(expression: Expression, clause: Any) -> int:
    """Digits after the point of an exact numeric; raises RefusedError."""
    if expression.type.scale is None:
        if isinstance(expression, Constant) and expression.value is None:
            return 0
        raise RefusedError(
            clause_text(clause), "a numeric without precision and scale is not exact here: declare numeric(p, s)"
        )
    return expression.type.scale


def scaled(expression: Expression, scale: int) -> Expression:
    """The numeric with `scale` digits after the point, at least as many as it has."""
    have = expression.type.scale or 0
    kind = ValueType(kind=Kind.NUMERIC, scale=scale)
    if have == scale or (isinstance(expression, Constant) and expression.value is None):
        return replace(expression, type=kind)
    if isinstance(expression, Constant):
        return replace(expression, type=kind, value=int(expression.value or 0) * 10 ** (scale - have))
    return operation(f"pg_multiply(64, {{}}, {10 ** (scale - have)})", kind, expression)


def clause_text(clause: Any) -> str:
    """A clause as an error message shows it."""
    try:
        text = str(clause)
    except UnsupportedCompilationError:  # an operator that has no text of its own
        text = f"a {type(clause).__name__}"
    return text if len(text) <= 200 else text[:197] + "…"
