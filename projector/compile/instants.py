"""Parts of dates and times, and times cut to a unit, as typed trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from projections.values import Kind, ValueType
from projector.compile.agreement import clause_text, operation
from projector.compile.errors import RefusedError
from projector.compile.expression import Expression
from projector.compile.functions import FIELDS, TIME_FIELDS, TRUNCATIONS


def extract(field: str, inner: Expression, clause: Any) -> Expression:
    """A part of a date, time or timestamp; raises RefusedError."""
    field = field.lower()
    if field not in FIELDS or (inner.type.kind is Kind.TIME and field not in TIME_FIELDS):
        raise RefusedError(clause_text(clause), f"extract takes {', '.join(FIELDS)}")
    if inner.type.kind is Kind.DATE:
        if field in TIME_FIELDS:
            raise RefusedError(clause_text(clause), "a date has no time of day")
        inner = operation("pg_date_timestamp({})", ValueType(kind=Kind.TIMESTAMP), inner)
    elif inner.type.kind not in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME):
        raise RefusedError(clause_text(clause), "extract takes a date, time or timestamp")
    result = operation(f"pg_extract('{field}', {{}})", ValueType(kind=Kind.INTEGER, bits=32), inner)
    return replace(result, nullable=True)


def date_trunc(field: str, inner: Expression, clause: Any) -> Expression:
    """A timestamp cut to a unit; raises RefusedError."""
    field = field.lower()
    if field not in TRUNCATIONS:
        raise RefusedError(clause_text(clause), f"date_trunc takes {', '.join(TRUNCATIONS)}")
    if inner.type.kind not in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        raise RefusedError(clause_text(clause), "date_trunc takes a timestamp: cast the date")
    return operation(f"pg_date_trunc('{field}', {{}})", inner.type, inner)
