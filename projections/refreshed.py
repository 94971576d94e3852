"""A scheduled read model as the engine maintains it: a plain select() over its pseudo-table.

What its own select() gives is computed by Postgres on a schedule and kept in a real table there, the *pseudo-table*.
The difference that a run makes to that table is one ordinary transaction of the log, so everything behind the log
treats the model like any other. Its own select() is never analysed: any SQL that Postgres runs will do.

The table's name ends in a digest of its columns and key. A declaration whose columns change is thus another table: what
the log still holds of the old one is passed over by those who don't read it, instead of being misread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Numeric, PrimaryKeyConstraint, Table, select
from sqlalchemy.dialects import postgresql

from projections.inferred import column_type
from projections.read_model import ReadModel
from projections.values import Kind, UnsupportedTypeError, value_type

SCHEMA = "lockstep_refresh"
_DIGEST = 8  # hexadecimal digits


def scheduled(models: Iterable[ReadModel]) -> tuple[ReadModel, ...]:
    """The read models that are refreshed on a schedule."""
    return tuple(model for model in models if model.refresh is not None)


def pseudo_table(model: ReadModel) -> Table:
    """The table in Postgres that holds a scheduled read model's rows: its columns, its key as the primary key."""
    columns = [
        Column(str(column.name), _type(column), nullable=column.name not in model.key)
        for column in model.select.selected_columns
    ]
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    shape = [(column.name, column.type.compile(dialect)) for column in columns]
    digest = hashlib.sha256(repr((shape, model.key)).encode()).hexdigest()[:_DIGEST]
    key = PrimaryKeyConstraint(*model.key, name=None)
    return Table(f"{model.name}_{digest}", MetaData(), *columns, key, schema=SCHEMA)


def _type(column: Any) -> Any:
    """The SQLAlchemy type of a selected column; where its own says too little, that of the values which it holds."""
    kind = column_type(column)
    try:
        if value_type(column.type) == kind:
            return column.type
    except UnsupportedTypeError:
        pass
    match kind.kind:
        case Kind.INTEGER:
            return BigInteger()
        case Kind.NUMERIC:
            return Numeric(kind.precision, kind.scale)
        case Kind.BOOLEAN:
            return Boolean()
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return DateTime(timezone=kind.kind is Kind.TIMESTAMPTZ)
    raise UnsupportedTypeError(f"{column.name} has no type of its own: give its function one with type_=")


def earlier_tables(model: ReadModel) -> str:
    """A regular expression that matches the names of all pseudo-tables that this read model ever had."""
    return f"^{model.name}_[0-9a-f]{{{_DIGEST}}}$"


def maintained(model: ReadModel) -> ReadModel:
    """The read model that the compile sees: itself, or when it is scheduled, every column of its pseudo-table."""
    if model.refresh is None:
        return model
    table = pseudo_table(model)
    return replace(model, select=select(*table.columns), refresh=None)
