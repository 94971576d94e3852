"""Postgres's values as the log carries them, where SQL can make them so: what every reader of its answers shares.

Instants, dates, times and intervals become whole numbers (`projections.values`), because no driver's type holds all of
them. The session must have ``TimeZone=UTC``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import types as sa

from projections.values import Kind, ValueType

_MICROS = (
    "CASE WHEN {0} = 'infinity' THEN 9223372036854775807 WHEN {0} = '-infinity' THEN -9223372036854775808"
    " ELSE (extract(epoch FROM {0}) * 1000000)::bigint END"
)
_DAYS = (
    "CASE WHEN {0} = 'infinity' THEN 2147483647 WHEN {0} = '-infinity' THEN -2147483648"
    " ELSE {0} - date '1970-01-01' END"
)
# A month is 365.25 / 12 days in the log; extract(epoch) has it 30 days long.
_INTERVAL = (
    "CASE WHEN {0} = 'infinity' THEN 9223372036854775807 WHEN {0} = '-infinity' THEN -9223372036854775808 ELSE"
    " ((extract(year FROM {0})::bigint * 12 + extract(month FROM {0})::bigint) * 2629800"
    " + extract(day FROM {0})::bigint * 86400 + extract(hour FROM {0})::bigint * 3600"
    " + extract(minute FROM {0})::bigint * 60) * 1000000 + extract(microseconds FROM {0})::bigint END"
)
_FORMS = {
    Kind.TIMESTAMP: _MICROS,
    Kind.TIMESTAMPTZ: _MICROS,
    Kind.DATE: _DAYS,
    Kind.TIME: "(extract(epoch FROM {0}) * 1000000)::bigint",
    Kind.INTERVAL: _INTERVAL,
    Kind.INTEGER: "{0}::bigint",  # a sum of bigints is numeric there
}


def in_log_form(column: str, kind: ValueType, column_type: sa.TypeEngine[Any]) -> str | None:
    """SQL of a column (already quoted) as the log has it; None for kinds whose readers differ.

    column_type: SQLAlchemy's, which knows an array's elements; it may not know what the SQL computes.
    """
    if kind.kind is Kind.ARRAY:
        exact = isinstance(column_type, sa.ARRAY) and isinstance(column_type.item_type, sa.Numeric)
        return f"to_json({column}{'::text[]' if exact else ''})::text"
    form = _FORMS.get(kind.kind)
    return form.format(column) if form is not None else None
