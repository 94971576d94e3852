"""The type of a select()'s column, where SQLAlchemy's own says too little.

SQLAlchemy types count() and the sum of integers as its Integer, where Postgres answers with bigint or more, gives a sum of
numerics the digits of one of them, and leaves avg(), date_trunc() and bool_and() without a type. Everything else is `projections.values.value_type` of its type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import CTE, Subquery
from sqlalchemy.sql import elements, functions, selectable, sqltypes, visitors

from projections.values import Kind, ValueType, value_type

_GROWING = ("count", "sum")
_MOST_DIGITS = 18  # of a numeric that is kept as a scaled integer of 64 bits
_BOOLEAN = ("bool_and", "bool_or", "every")


def column_type(column: Any) -> ValueType:
    """The `ValueType` of a selected column; raises UnsupportedTypeError naming the type."""
    kind = _inferred(column)
    wide = _widened(kind)
    return wide if wide != kind and not isinstance(_bare(column), elements.Cast) and _grows(column) else kind


def _widened(kind: ValueType) -> ValueType:
    """The type of a sum; an opaque numeric, or one without a bound, is as wide as can be."""
    if kind.kind is Kind.INTEGER:
        return replace(kind, bits=64)
    return replace(kind, precision=_MOST_DIGITS) if kind.kind is Kind.NUMERIC and kind.scale is not None else kind


def _inferred(column: Any) -> ValueType:
    bare = _bare(column)
    if not isinstance(bare.type, sqltypes.NullType):
        return value_type(bare.type)
    if isinstance(bare, elements.FunctionFilter):
        return _inferred(bare.func)
    if isinstance(bare, functions.FunctionElement):
        name, arguments = str(getattr(bare, "name", "")).lower(), list(bare.clauses)
        if name == "avg":
            return ValueType(kind=Kind.NUMERIC)
        if name in _BOOLEAN:
            return ValueType(kind=Kind.BOOLEAN)
        if name == "date_trunc" and len(arguments) > 1:
            return _inferred(arguments[1])
    return value_type(bare.type)


def _bare(column: Any) -> Any:
    """The expression behind labels, scalar subqueries and columns of a subquery or of WITH."""
    while True:
        if isinstance(column, elements.Label | elements.Grouping):
            column = column.element
        elif isinstance(column, selectable.ScalarSelect):
            (column,) = column.element.selected_columns
        elif isinstance(column, elements.ColumnClause) and (select := _select_of(column.table)) is not None:
            column = next(c for c in select.selected_columns if c.name == column.name)
        else:
            return column


def _select_of(table: Any) -> Any:
    while isinstance(table, selectable.Alias):
        table = table.element
    return table.element if isinstance(table, Subquery | CTE) else None


def _grows(column: Any) -> bool:
    """Whether a count or a sum is part of it."""
    for node in visitors.iterate(_bare(column)):
        if isinstance(node, functions.FunctionElement) and str(getattr(node, "name", "")).lower() in _GROWING:
            return True
        bare = _bare(node) if isinstance(node, elements.ColumnClause | selectable.ScalarSelect) else node
        if bare is not node and _grows(bare):
            return True
    return False
