"""Random transactions over real tables: every kind of change that a log can carry, few keys, so that they meet.

A statement that a constraint refuses is undone alone, as an application with savepoints does; whole transactions and
parts of them are rolled back for no reason. The same seed over the same database makes the same changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

import psycopg
from sqlalchemy import Table

from tests.oracle.values import Value

Domains = Mapping[str, Mapping[str, Sequence[Value]]]


class Source:
    """Changes some tables of one database. domains: table to column to the values that it takes.

    many: table to an INSERT of thousands of rows, `{salt}` in it being a new number each time.
    alone: whether every row is the source's own; if not, only rows with its domains' keys are touched.
    made: how often each kind of thing was done.
    """

    def __init__(
        self,
        connection: psycopg.Connection[tuple[object, ...]],
        tables: Sequence[Table],
        domains: Domains,
        rng: Random,
        many: Mapping[str, str],
        *,
        alone: bool = True,
    ) -> None:
        self._connection = connection
        self._tables = {table.name: table for table in tables}
        self._domains = domains
        self._rng = rng
        self._many = many
        self._alone = alone
        self.made: Counter[str] = Counter()

    def transaction(self) -> None:
        """One transaction of several tables, committed or rolled back."""
        rng, connection = self._rng, self._connection
        connection.execute("begin")
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            self._change()
            if rng.random() < 0.1:
                self._undone_part()
        ends = "rollback" if rng.random() < 0.1 else "commit"
        try:
            connection.execute(ends)
        except psycopg.errors.IntegrityError:  # a deferred constraint
            ends = "rollback"
        self.made[ends] += 1

    def big(self) -> None:
        """One transaction of thousands of rows, with a part of it undone."""
        self._connection.execute("begin")
        for name, text in self._many.items():
            self._connection.execute(text.format(salt=self._rng.randrange(1 << 30)).encode())
            self.made[f"big {name}"] += 1
        self._undone_part()
        self._connection.execute("commit")

    def _undone_part(self) -> None:
        self._connection.execute("savepoint part")
        for _ in range(self._rng.randrange(1, 4)):
            self._change()
        self._connection.execute("rollback to savepoint part")
        self.made["rollback to savepoint"] += 1

    def _change(self) -> None:
        name = self._rng.choice(list(self._tables))
        table = self._tables[name]
        roll = self._rng.random()
        kind: Callable[[Table], str]
        if roll < 0.015 and self._alone:
            kind = self._truncate
        elif roll < 0.2:
            kind = self._delete
        elif roll < 0.35:
            kind = self._key_change
        elif roll < 0.6:
            kind = self._update
        else:
            kind = self._insert
        self._try(kind(table), kind.__name__.strip("_"))

    def _try(self, statement: str, kind: str) -> None:
        self._connection.execute("savepoint statement")
        try:
            rows = self._connection.execute(statement.encode()).rowcount
        except psycopg.errors.IntegrityError:
            self._connection.execute("rollback to savepoint statement")
            kind, rows = f"refused {kind}", 1
        self._connection.execute("release savepoint statement")
        if rows:
            self.made[kind] += 1

    def _value(self, table: Table, column: str) -> str:
        return self._rng.choice(self._domains[table.name][column]).literal

    def _where(self, table: Table) -> str:
        keys = [str(column.name) for column in table.primary_key.columns]
        return " and ".join(f'"{key}" = {self._value(table, key)}' for key in keys)

    def _insert(self, table: Table) -> str:
        names = list(self._domains[table.name])
        keys = {str(column.name) for column in table.primary_key.columns}
        sets = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in keys)
        return (
            f'insert into "{table.name}" ({", ".join(f"{chr(34)}{name}{chr(34)}" for name in names)})'
            f" values ({', '.join(self._value(table, name) for name in names)})"
            f" on conflict ({', '.join(sorted(keys))}) do update set {sets}"
        )

    def _update(self, table: Table) -> str:
        keys = {str(column.name) for column in table.primary_key.columns}
        names = [name for name in self._domains[table.name] if name not in keys]
        chosen = self._rng.sample(names, min(len(names), self._rng.randrange(1, 4)))
        sets = ", ".join(f'"{name}" = {self._value(table, name)}' for name in chosen)
        where = self._first_hundred(table) if self._alone and self._rng.random() < 0.2 else self._where(table)
        return f'update "{table.name}" set {sets} where {where}'

    @staticmethod
    def _first_hundred(table: Table) -> str:
        keys = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
        return f'({keys}) in (select {keys} from "{table.name}" order by {keys} limit 100)'

    def _key_change(self, table: Table) -> str:
        keys = [str(column.name) for column in table.primary_key.columns]
        sets = ", ".join(f'"{key}" = {self._value(table, key)}' for key in keys)
        return f'update "{table.name}" set {sets} where {self._where(table)}'

    def _delete(self, table: Table) -> str:
        return f'delete from "{table.name}" where {self._where(table)}'

    def _truncate(self, table: Table) -> str:
        return f'truncate "{table.name}" cascade'
