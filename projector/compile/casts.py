"""Casts whose result is Postgres's to the last digit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from projections.values import Kind, ValueType
from projector.compile.agreement import as_numeric, clause_text, operation, scale_of, scaled
from projector.compile.errors import RefusedError
from projector.compile.expression import Constant, Expression, Operation


def cast_to(inner: Expression, to: ValueType, clause: Any) -> Expression:
    """The expression as another type; raises RefusedError naming both kinds."""
    if isinstance(inner, Constant) and inner.value is None:
        return replace(inner, type=to)
    match inner.type.kind, to.kind:
        case Kind.INTEGER, Kind.INTEGER:
            return (
                operation(f"pg_checked({to.bits}, {{}})", to, inner)
                if to.bits < inner.type.bits
                else replace(inner, type=to)
            )
        case ((Kind.INTEGER | Kind.NUMERIC), Kind.NUMERIC) if not inner.type.opaque and not to.opaque:
            inner = as_numeric(inner, clause)
            have, want = scale_of(inner, clause), scale_of(Constant(type=to, value=0), clause)
            moved = scaled(inner, want) if want >= have else operation(f"pg_rescale({{}}, {have - want})", to, inner)
            return operation(f"pg_precision({{}}, {to.precision})", to, moved)
        case Kind.NUMERIC, Kind.NUMERIC if is_average(inner) and not to.opaque:
            template = f"pg_numeric_cast({{}}, {to.precision}, {to.scale})"
            return Operation(type=to, nullable=inner.nullable, template=template, arguments=(inner,))
        case Kind.NUMERIC, Kind.INTEGER if not inner.type.opaque:
            return operation(f"pg_checked({to.bits}, pg_rescale({{}}, {inner.type.scale}))", to, inner)
        case Kind.BOOLEAN, Kind.INTEGER if to.bits == 32:
            return replace(inner, type=to)
        case Kind.BOOLEAN, Kind.TEXT if _plain_text(to):
            return operation("(CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)", to, inner)
        case Kind.INTEGER, Kind.TEXT if _plain_text(to):
            return operation("CAST({} AS TEXT)", to, inner)
        case Kind.NUMERIC, Kind.TEXT if _plain_text(to) and not inner.type.opaque:
            return operation(f"pg_numeric_text({{}}, {inner.type.scale})", to, inner)
        case Kind.UUID, Kind.TEXT if _plain_text(to):
            return replace(inner, type=to)
        case Kind.DATE, Kind.TEXT if _plain_text(to):
            return operation("pg_date_text({})", to, inner)
        case Kind.TEXT, Kind.TEXT if _plain_text(to) and not inner.type.fixed_width_text:
            return replace(inner, type=replace(to, collation=to.collation or _collation(inner)))
        case ((Kind.TIMESTAMP | Kind.TIMESTAMPTZ), Kind.DATE):
            return operation("pg_timestamp_date({})", to, inner)
        case Kind.DATE, (Kind.TIMESTAMP | Kind.TIMESTAMPTZ):
            return operation("pg_date_timestamp({})", to, inner)
        case ((Kind.TIMESTAMP | Kind.TIMESTAMPTZ), (Kind.TIMESTAMP | Kind.TIMESTAMPTZ)) if to.precision is None:
            return replace(inner, type=to)
        case have_kind, want_kind if have_kind == want_kind and inner.type == to:
            return inner
    raise RefusedError(clause_text(clause), f"a cast from {inner.type.kind} to {to.kind} can't be maintained exactly")


def is_average(expression: Expression) -> bool:
    """Whether it is avg() itself: a numeric as text, but always a finite number with known digits."""
    return isinstance(expression, Operation) and expression.template.startswith("pg_average")


def _plain_text(to: ValueType) -> bool:
    return not to.fixed_width_text and to.collation != "enum" and to.precision is None


def _collation(expression: Expression) -> str | None:
    return None if expression.type.collation == "enum" else expression.type.collation
