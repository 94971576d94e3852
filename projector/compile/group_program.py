"""A group's state as the replica keeps it, and the statements that bring it up to date with a batch.

The state table is keyed by the group's key. Measures have no type of SQLite's and a CHECK instead: a sum that leaves 64
bits would silently become a float there, and is refused this way, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from projector.compile.delta import DeltaStatement, delta_statements
from projector.compile.expression import identifier
from projector.compile.names import WEIGHT, delta_name, images_name, replica_name
from projector.compile.relation import ROWS, Grouped


@dataclass(frozen=True, kw_only=True)
class GroupProgram:
    """One group. indexes: columns of the state looked up by. weighed: another group sums over this one's images."""

    group: Grouped
    statements: tuple[DeltaStatement, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    weighed: bool = False

    @property
    def name(self) -> str:
        """The group's full name."""
        return self.group.fullname

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the state's key columns."""
        return tuple(key.name for key in self.group.keys)

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the state's columns that differences are added to, the row count first."""
        return (*(m.name for m in self.group.measures), *(d.name for d in self.group.distincts))

    def create(self) -> list[str]:
        """CREATE of the state table and its indexes."""
        columns = [
            *(f"{identifier(key.name)} {key.expression.type.sqlite}" for key in self.group.keys),
            *(f"{identifier(name)} CHECK (typeof({identifier(name)}) = 'integer')" for name in self.sums),
            *(f"{identifier(extreme.name)} {extreme.type.sqlite}" for extreme in self.group.extremes),
            f"PRIMARY KEY ({_list(self.key)})",
        ]
        table = f"CREATE TABLE {replica_name(self.name)} ({', '.join(columns)}) WITHOUT ROWID"
        empty = f"CREATE INDEX main.{identifier(self.name + ' empty')} ON {identifier(self.name)} ({ROWS})"
        indexes = [
            f"CREATE INDEX main.{identifier(self.name + ' by ' + ', '.join(columns))} ON {identifier(self.name)} ({_list(columns)})"
            for columns in self.indexes
        ]
        return [table, f"{empty} WHERE {ROWS} <= 0", *indexes]

    def create_temporary(self) -> list[str]:
        """CREATE of the tables of a batch: what it adds to each group, and the state's images."""
        keys = [f"{identifier(key.name)} {key.expression.type.sqlite}" for key in self.group.keys]
        sums = [f"{identifier(name)} DEFAULT 0" for name in self.sums]
        extremes = [f"{identifier(e.name)} {e.type.sqlite}" for e in self.group.extremes]
        change = f"CREATE TABLE {delta_name(self.name)} ({', '.join([*keys, *sums])}, PRIMARY KEY ({_list(self.key)}))"
        columns = [*keys, *map(identifier, self.sums), *extremes, f"{WEIGHT} INTEGER"]
        return [f"{change} WITHOUT ROWID", f"CREATE TABLE {images_name(self.name)} ({', '.join(columns)})"]

    @property
    def before(self) -> str:
        """Images of the groups that change, as they were: to run before `add`."""
        return self._images(-1)

    @property
    def after(self) -> str:
        """Images of the groups that changed, as they are."""
        return self._images(1)

    @property
    def between(self) -> str:
        """Images that name every group touched, whatever it held meanwhile."""
        return (
            f"INSERT INTO {images_name(self.name)} ({_list(self.key)}, {WEIGHT})"
            f" SELECT {_list(self.key)}, 0 FROM {delta_name(self.name)}"
        )

    @property
    def add(self) -> str:
        """Add the changes; the groups that lean on another one's entries look up their first or last."""
        names = [*self.key, *self.sums, *(extreme.name for extreme in self.group.extremes)]
        values = [*(f"c.{identifier(name)}" for name in (*self.key, *self.sums)), *self._extremes()]
        changes = [f"{identifier(name)} = {identifier(name)} + excluded.{identifier(name)}" for name in self.sums]
        changes += [f"{identifier(e.name)} = excluded.{identifier(e.name)}" for e in self.group.extremes]
        return (
            f"INSERT INTO {replica_name(self.name)} ({_list(names)}) SELECT {', '.join(values)}"
            f" FROM {delta_name(self.name)} AS c WHERE TRUE ON CONFLICT ({_list(self.key)}) DO UPDATE SET {', '.join(changes)}"
        )

    @property
    def drop_empty(self) -> str:
        """Delete the groups without rows, found through an index of just those; gives the row count of each, zero."""
        return f"DELETE FROM {replica_name(self.name)} WHERE {ROWS} <= 0 RETURNING {ROWS}"

    @property
    def overflown(self) -> str:
        """Rows of (key columns, names of measures …) for the groups whose sums leave 64 bits."""
        there = " AND ".join(f"s.{identifier(name)} = c.{identifier(name)}" for name in self.key)
        too_large = [
            f"CASE WHEN typeof(c.{identifier(n)} + coalesce(s.{identifier(n)}, 0)) <> 'integer' THEN '{n}' END"
            for n in self.sums
        ]
        keys = ", ".join(f"c.{identifier(name)}" for name in self.key)
        return (
            f"SELECT {keys}, coalesce({', '.join(too_large)}, NULL) AS measure FROM {delta_name(self.name)} AS c"
            f" LEFT JOIN {replica_name(self.name)} AS s ON {there} WHERE measure IS NOT NULL"
        )

    def _images(self, weight: int) -> str:
        names = (*self.key, *self.sums, *(extreme.name for extreme in self.group.extremes))
        columns = ", ".join(f"s.{identifier(name)}" for name in names)
        found = " AND ".join(f"s.{identifier(name)} = c.{identifier(name)}" for name in self.key)
        return (
            f"INSERT INTO {images_name(self.name)} SELECT {columns}, {weight}"
            f" FROM {delta_name(self.name)} AS c CROSS JOIN {replica_name(self.name)} AS s ON {found}"
        )

    def _extremes(self) -> list[str]:
        width = len(self.key)
        found = []
        for extreme in self.group.extremes:
            keys = [identifier(key.name) for key in extreme.entries.keys]
            within = " AND ".join(f"v.{theirs} = c.{own}" for theirs, own in zip(keys, map(identifier, self.key)))  # noqa: B905
            order = "DESC" if extreme.last else "ASC"
            found.append(
                f"(SELECT v.{keys[width]} FROM {replica_name(extreme.entries.fullname)} AS v WHERE {within}"
                f" ORDER BY v.{keys[width]} {order} LIMIT 1)"
            )
        return found


def group_programs(groups: tuple[Grouped, ...]) -> tuple[GroupProgram, ...]:
    """Programs of groups, each after those that it leans on; raises RefusedError."""
    statements = {group.fullname: delta_statements(group) for group in groups}
    weighed = frozenset(chain.from_iterable(s.tables for found in statements.values() for s in found))
    return tuple(
        GroupProgram(group=group, statements=statements[group.fullname], weighed=group.fullname in weighed)
        for group in groups
    )


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(identifier, names))
