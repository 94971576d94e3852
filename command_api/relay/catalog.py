"""What the stream does not say, asked of Postgres on an ordinary connection: types, primary keys, slot, publication.

Answers about types are cached until a Type message or `forget` says otherwise. They are of *now*, while the stream may
be in the past: a type that is gone by then is written as text, a primary key that no longer fits the row is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.postgres import types as builtin

from command_api.lsn import Lsn
from command_api.relay.encodings import ColumnType
from command_api.relay.errors import SetupError, SourceUnavailableError
from command_api.relay.pgoutput import Column, Relation
from command_api.relay.replication import connect_error, with_session

_BUILTIN: Final = {info.oid: info.name for info in builtin}
_BUILTIN_ARRAYS: Final = {info.array_oid: info for info in builtin if info.array_oid}
_WITH_PRECISION: Final = frozenset({"time", "timetz", "timestamp", "timestamptz"})


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A replication slot. lost: why Postgres has invalidated it, or empty. retained: bytes of WAL that it keeps."""

    name: str
    plugin: str
    database: str
    active_pid: int | None
    confirmed: Lsn
    lost: str
    retained: int


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of the publication, with the columns and the filter that it publishes."""

    schema: str
    name: str
    columns: tuple[str, ...]
    row_filter: str | None


def column_type(name: str, modifier: int) -> ColumnType:
    """A built-in type by name; `modifier` is pg_attribute's, -1 for none."""
    return ColumnType(name=name, precision=modifier if name in _WITH_PRECISION and 0 <= modifier <= 6 else 6)


class Catalog:
    """One ordinary connection, in autocommit; a context manager. Raises SourceUnavailableError when it breaks."""

    def __init__(self, conninfo: str, *, timeout_s: float = 10.0) -> None:
        text = with_session(conninfo, connect_timeout=str(max(2, int(timeout_s))))
        try:
            self.connection = psycopg.connect(text, autocommit=True)
        except psycopg.Error as error:  # libpq gives a refused login no SQLSTATE, so its words have to do
            raise connect_error(str(error)) from error
        self._types: dict[int, ColumnType | None] = {}

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one query (constants of this package, values as parameters)."""
        with _translated():
            return self.connection.execute(query, parameters or None).fetchall()

    def forget(self, oid: int) -> None:
        """A type may have changed."""
        self._types.clear()

    def type_of(self, oid: int, modifier: int) -> ColumnType:
        """A column's type, domains resolved; text for a type that is gone."""
        if oid in _BUILTIN:
            return column_type(_BUILTIN[oid], modifier)
        if oid in _BUILTIN_ARRAYS:
            info = _BUILTIN_ARRAYS[oid]
            return ColumnType(name="array", element=column_type(info.name, modifier), delimiter=info.delimiter)
        if oid not in self._types:
            self._types[oid] = self._look_up(oid)
        return self._types[oid] or ColumnType(name="text")

    def _look_up(self, oid: int) -> ColumnType | None:
        found = self.rows(
            "select t.typtype, t.typbasetype, t.typtypmod, t.typcategory, t.typelem, coalesce(e.typdelim, ',')"
            " from pg_type t left join pg_type e on e.oid = t.typelem where t.oid = %s",
            oid,
        )
        if not found:
            return None
        kind, base, modifier, category, element, delimiter = found[0]
        if kind == "d":
            return self.type_of(base, modifier)
        if category == "A" and element:
            return ColumnType(name="array", element=self.type_of(element, -1), delimiter=delimiter)
        return ColumnType(name="text")

    def types(self, relation: Relation) -> dict[str, ColumnType]:
        """The type of each column."""
        return {column.name: self.type_of(column.type_oid, column.type_modifier) for column in relation.columns}

    def key(self, relation: Relation) -> tuple[str, ...]:
        """The primary key's columns; raises SetupError when the table has none or its identity does not hold them."""
        table = f"{relation.schema}.{relation.name}"
        flagged = tuple(column.name for column in relation.columns if column.in_identity)
        key = flagged if relation.identity == "d" else self.primary_key(relation.oid)
        if not key:
            raise SetupError(
                f"{table} has no primary key",
                hint=f"Add one, or take the table out: ALTER PUBLICATION … DROP TABLE {table}",
            )
        if relation.identity == "n" or not set(key) <= set(flagged):
            raise SetupError(
                f"{table}'s replica identity does not hold its primary key ({', '.join(key)})",
                hint=f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT",
            )
        return key

    def primary_key(self, relation_oid: int) -> tuple[str, ...]:
        """The primary key's columns in their order; empty without one."""
        return tuple(
            name
            for (name,) in self.rows(
                "select a.attname from pg_index i cross join unnest(i.indkey) with ordinality k(n, place)"
                " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n"
                " where i.indrelid = %s and i.indisprimary order by k.place",
                relation_oid,
            )
        )

    def numbers(self, relation: Relation) -> dict[str, int]:
        """Each column's number, which a column keeps for as long as it is there; empty for a table that is gone by now."""
        found: dict[str, int] = dict(
            self.rows(
                "select attname::text, attnum::int from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped",
                relation.oid,
            )
        )
        return {column.name: found[column.name] for column in relation.columns if column.name in found}

    def slot(self, name: str) -> Slot | None:
        """The slot, or None."""
        found = self.rows(
            "select to_jsonb(s), coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), s.restart_lsn), 0)::bigint"
            " from pg_replication_slots s where s.slot_name = %s",
            name,
        )
        if not found:
            return None
        row, retained = found[0]
        lost = row.get("invalidation_reason") or ("wal_removed" if row.get("wal_status") == "lost" else "")
        return Slot(
            name=name,
            plugin=row["plugin"] or "physical",
            database=row["database"] or "",
            active_pid=row["active_pid"],
            confirmed=Lsn.parse(row["confirmed_flush_lsn"] or "0/0"),
            lost=lost,
            retained=retained,
        )

    def flushed(self) -> tuple[int, int]:
        """What is flushed, LSN in bytes, and the server's time before that was asked, microseconds since 1970."""
        (found,) = self.rows(
            "select (extract(epoch from t) * 1000000)::bigint, (pg_current_wal_flush_lsn() - '0/0')::bigint"
            " from (select clock_timestamp() as t offset 0) now"
        )
        at, lsn = found
        return int(lsn), int(at)

    def has_publication(self, name: str) -> bool:
        """Whether the publication is there."""
        return bool(self.rows("select 1 from pg_publication where pubname = %s", name))

    def publishes_roots(self, name: str) -> bool:
        """Whether a change of a partition is published as its partitioned table's."""
        return bool(self.rows("select 1 from pg_publication where pubname = %s and pubviaroot", name))

    def published_tables(self, publication: str) -> tuple[PublishedTable, ...]:
        """What the publication holds, in the order of names."""
        return tuple(
            PublishedTable(schema=schema, name=name, columns=tuple(columns), row_filter=row_filter)
            for schema, name, columns, row_filter in self.rows(
                "select schemaname::text, tablename::text, attnames::text[], rowfilter from pg_publication_tables"
                " where pubname = %s order by 1, 2",
                publication,
            )
        )

    def relation(self, table: PublishedTable) -> Relation:
        """The table as the stream would describe it; raises SetupError when it is gone."""
        found = self.rows(
            "select c.oid, c.relreplident::text, a.attname::text, a.atttypid, a.atttypmod,"
            " coalesce(a.attnum = any(i.indkey), false)"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid"
            " left join pg_index i on i.indrelid = c.oid"
            " and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end"
            " where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped order by a.attnum",
            table.schema,
            table.name,
        )
        columns = [row for row in found if row[2] in table.columns]
        if not columns:
            raise SetupError(f"{table.schema}.{table.name} is gone", hint="Run the migrations, then `relay setup`")
        oid, identity = found[0][:2]
        return Relation(
            oid=oid,
            schema=table.schema,
            name=table.name,
            identity=identity,
            columns=tuple(
                Column(name=name, type_oid=type_oid, type_modifier=modifier, in_identity=identity == "f" or flagged)
                for _, _, name, type_oid, modifier, flagged in columns
            ),
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise SetupError(
            f"Postgres refused a query: {error}", hint="Give the role the right, or use the admin's"
        ) from error
    except psycopg.Error as error:
        raise SourceUnavailableError(f"a query of Postgres's catalog failed: {error}") from error
