"""The reference: each read model's select() run by PostgreSQL over given rows, its values in replica form.

One connection with temporary tables serves a session. Loading a state and reading every view is one round trip. The
conversion to replica form is written in SQL here, apart from the code under test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import psycopg
from sqlalchemy import Select, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from projections.document_values import from_postgres
from projections.read_model import ReadModel
from projections.values import Kind, ValueType
from tests.oracle.history import State

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_MICROS = (
    "CASE WHEN {0} = 'infinity' THEN 9223372036854775807 WHEN {0} = '-infinity' THEN -9223372036854775808"
    " ELSE (extract(epoch from {0}) * 1000000)::bigint END"
)
Rows = dict[tuple[Any, ...], tuple[Any, ...]]
"""Key to the other columns."""


def text_of(select: Select[Any]) -> str:
    """A select() as SQL text without parameters."""
    return str(select.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def in_replica_form(column: str, kind: ValueType) -> str:
    """SQL that turns a column of Postgres into the number or text that the replica holds for it."""
    match kind.kind:
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return _MICROS.format(column)
        case Kind.DATE:
            return (
                f"CASE WHEN {column} = 'infinity' THEN 2147483647 WHEN {column} = '-infinity' THEN -2147483648"
                f" ELSE {column} - date '1970-01-01' END"
            )
        case Kind.TIME:
            return f"(extract(epoch from {column}) * 1000000)::bigint"
        case Kind.NUMERIC if kind.scale is not None:
            return f"{column} * 10::numeric ^ {kind.scale}"
        case Kind.BOOLEAN:
            return f"{column}::int"
        case Kind.NUMERIC | Kind.UUID | Kind.JSON | Kind.DOCUMENT:
            return f"{column}::text"
    return column


class Reference:
    """Runs read models' SQL. models and tables are fixed for its life."""

    def __init__(self, conninfo: str, tables: Sequence[Table], models: Sequence[ReadModel]) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        self._tables = tables
        self._models = {model.name: model for model in models}
        self._shapes = {model.name: _shape(model) for model in models}
        self._connection.execute("SET TimeZone = 'UTC'; SET client_min_messages = warning")
        for table in tables:
            copy = table.to_metadata(type(table.metadata)())
            copy.foreign_keys.clear()
            copy.constraints = {copy.primary_key}
            copy.indexes.clear()
            copy._prefixes = ["TEMPORARY"]
            copy.dialect_options["postgresql"]["partition_by"] = None
            self._connection.execute(
                str(CreateTable(copy, include_foreign_key_constraints=[]).compile(dialect=_DIALECT))
            )
        self._queries = {model.name: self._query(model) for model in models}

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def rows(self, state: State, models: Sequence[ReadModel] | None = None) -> dict[str, Rows]:
        """Every model's rows for a state."""
        chosen = [self._models[model.name] for model in models] if models is not None else list(self._models.values())
        script = ["BEGIN", *self._loading(state), *(self._queries[model.name] for model in chosen), "ROLLBACK"]
        cursor = self._connection.execute("; ".join(script).encode())
        found: dict[str, Rows] = {}
        waiting = iter(chosen)
        while True:
            if cursor.description is not None:
                model = next(waiting)
                found[model.name] = _keyed(model, cursor.fetchall(), *self._shapes[model.name])
            if not cursor.nextset():
                return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of any query."""
        return self._connection.execute(sql.encode()).fetchall()

    def _loading(self, state: State) -> list[str]:
        script = []
        for table in self._tables:
            rows = state.get(table.name)
            if rows:
                first: Mapping[str, Any] = next(iter(rows.values()))
                names = ", ".join(f'"{name}"' for name in first)
                values = ", ".join("(" + ", ".join(row[name].literal for name in first) + ")" for row in rows.values())
                script.append(f'INSERT INTO "{table.name}" ({names}) VALUES {values}')
        return script

    def _query(self, model: ReadModel) -> str:
        columns = [*model.key, *(name for name in model.columns if name not in model.key)]
        types = model.columns
        converted = ", ".join(in_replica_form(f'v."{name}"', types[name]) for name in columns)
        return f"SELECT {converted} FROM ({text_of(model.select)}) AS v"


def _shape(model: ReadModel) -> tuple[int, list[ValueType]]:
    """(number of key columns, the types of all, key first)."""
    names = [*model.key, *(name for name in model.columns if name not in model.key)]
    return len(model.key), [model.columns[name] for name in names]


def _keyed(model: ReadModel, rows: list[tuple[Any, ...]], width: int, kinds: list[ValueType]) -> Rows:
    keyed: Rows = {}
    for row in rows:
        plain = tuple(map(plain_value, row, kinds))
        assert plain[:width] not in keyed, f"{model.name}: its key {plain[:width]} has two rows in Postgres"
        keyed[plain[:width]] = plain[width:]
    return keyed


def plain_value(value: Any, kind: ValueType) -> Any:
    """What `in_replica_form` gave, in replica form."""
    if kind.kind is Kind.DOCUMENT:  # its reader is proved against Postgres's own arithmetic, field by field
        return from_postgres(value, kind.fields)
    if isinstance(value, Decimal):
        assert value == value.to_integral_value(), f"{value} has digits that the replica's scale can't hold"
        return int(value)
    return value
