"""Random histories of the source: transactions as Postgres could have committed them, and the state after each.

A transaction keeps what the database would keep (primary keys, unique columns, foreign keys at commit); one that would
break them is rolled back and leaves nothing behind, as some do for no reason at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from sqlalchemy import Table, UniqueConstraint

from tests.oracle.schema import DOMAINS, LINKS
from tests.oracle.values import Value

Row: TypeAlias = dict[str, Value]
Key: TypeAlias = tuple[Value, ...]
State: TypeAlias = dict[str, dict[Key, Row]]
"""Table to key to row."""


@dataclass(frozen=True)
class Event:
    """One row change as the log will tell it: op c, u, d, r or t. unchanged: columns that Postgres left out (TOAST)."""

    table: Table
    op: str
    before: Row | None = None
    after: Row | None = None
    unchanged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Commit:
    """A committed transaction. state: of all tables after it. start, end: of its commit record. row_lsns: one an event."""

    xid: str
    events: tuple[Event, ...]
    state: State
    start: int
    end: int
    row_lsns: tuple[int, ...]


@dataclass
class Clock:
    """Hands out log positions. A row's own LSN lies anywhere before its commit, also below earlier commits."""

    lsn: int = 100
    xid: int = 700
    commits: list[Commit] = field(default_factory=list)


def key_of(table: Table, row: Row) -> Key:
    """The primary key's values."""
    return tuple(row[str(column.name)] for column in table.primary_key.columns)


def history(
    rng: Random,
    tables: Sequence[Table],
    length: int,
    *,
    with_snapshot: bool | None = None,
    growing: float = 0.6,
) -> list[Commit]:
    """`length` committed transactions over some tables, the first a snapshot half of the time.

    growing: how probable it is that few changes are deletes, because joins of several tables need rows in all of them.
    """
    state: State = {table.name: {} for table in tables}
    clock = Clock()
    grows = rng.random() > 1 - growing
    if rng.random() > 0.5 if with_snapshot is None else with_snapshot:
        for _ in range(rng.choice((3, 5 * len(tables)))):
            state = _transaction(rng, tables, state, grows)[1] or state
        _snapshot(clock, tables, state)
    tries = 0
    while len(clock.commits) < length and (tries := tries + 1) < 20 * length:
        events, after = _transaction(rng, tables, state, grows)
        if after is None or rng.random() > 0.95:
            continue
        state = after
        _commit(rng, clock, events, state)
        if rng.random() > 0.97:  # over rows that are there: of every table, or of some
            _snapshot(clock, tables if rng.random() > 0.5 else rng.sample(list(tables), 1), state)
    return clock.commits


def _snapshot(clock: Clock, tables: Sequence[Table], state: State) -> None:
    """The whole state as reads, at a consistent point that the next commit's record may start at."""
    events = tuple(Event(table, "r", after=row) for table in tables for row in state[table.name].values())
    clock.lsn += 1
    point = clock.lsn
    clock.commits.append(Commit("snapshot", events, state, point, point, (point,) * len(events)))


def _commit(rng: Random, clock: Clock, events: list[Event], state: State) -> None:
    clock.xid += 1
    start = clock.lsn if rng.random() > 0.4 else clock.lsn + rng.randrange(3)
    end = start + rng.randrange(1, 4)
    lsns = tuple(rng.randrange(max(1, start - 12), start + 1) for _ in events)
    clock.lsn = end
    clock.commits.append(Commit(str(clock.xid), tuple(events), state, start, end, lsns))


def _transaction(
    rng: Random, tables: Sequence[Table], before: State, growing: bool
) -> tuple[list[Event], State | None]:
    """Random changes; None instead of a state when Postgres would refuse them. growing: few of them are deletes."""
    truncates, deletes = (0.995, 0.9) if growing else (0.97, 0.72)
    state = {name: dict(rows) for name, rows in before.items()}
    events: list[Event] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        table = rng.choice(tables)
        rows = state[table.name]
        roll = rng.random()
        if roll > truncates and rows:
            if not any(f.column.table in tables for other in tables if other is not table for f in other.foreign_keys):
                rows.clear()
                events.append(Event(table, "t"))
        elif roll > deletes and rows:
            _delete(rng, table, state, tables, events)
        elif roll > 0.4 and rows:
            _update(rng, table, rows, events)
        else:
            row = _row(rng, table, state)
            key = key_of(table, row)
            if key in rows:
                events.append(_updated(rng, table, rows[key], row))
            else:
                events.append(Event(table, "c", after=row))
            rows[key] = row
    return events, state if events and _allowed(tables, state) else None


def _row(rng: Random, table: Table, state: State) -> Row:
    row = {name: rng.choice(values) for name, values in DOMAINS[table.name].items()}
    for columns, target, targets in LINKS.get(table.name, ()):  # joins without a constraint find a row half of the time
        found = list(state.get(target, {}).values())
        if found and rng.random() > 0.5:
            linked = rng.choice(found)
            row |= {name: linked[of] for name, of in zip(columns, targets, strict=True)}
    for key in table.foreign_keys:  # mostly rows that are there, or most transactions would be refused
        there = list(state.get(key.column.table.name, {}).values())
        if there:
            row[str(key.parent.name)] = rng.choice(there)[str(key.column.name)]
    return row


def _update(rng: Random, table: Table, rows: dict[Key, Row], events: list[Event]) -> None:
    old_key = rng.choice(list(rows))
    old = rows[old_key]
    moves = rng.random() > 0.75
    keys = {str(column.name) for column in table.primary_key.columns}
    names = [name for name in DOMAINS[table.name] if moves or name not in keys]
    new = old | {
        name: rng.choice(DOMAINS[table.name][name]) for name in rng.sample(names, min(len(names), rng.randrange(1, 4)))
    }
    key = key_of(table, new)
    if key == old_key:
        events.append(_updated(rng, table, old, new))
    elif key in rows:
        return
    else:
        del rows[old_key]
        events.append(Event(table, "d", before=old))
        events.append(Event(table, "c", after=new, unchanged=_toasted(rng, old, new)))
    rows[key] = new


def _updated(rng: Random, table: Table, old: Row, new: Row) -> Event:
    return Event(table, "u", after=new, unchanged=_toasted(rng, old, new))


def _toasted(rng: Random, old: Row, new: Row) -> frozenset[str]:
    """Columns that may be left out: texts and numerics that kept a value."""
    if rng.random() < 0.6:
        return frozenset()
    candidates = ("note", "name", "region", "title", "payload", "amount", "body")
    return frozenset(
        name for name in candidates if name in new and old[name] == new[name] and new[name].postgres is not None
    )


def _delete(rng: Random, table: Table, state: State, tables: Sequence[Table], events: list[Event]) -> None:
    key = rng.choice(list(state[table.name]))
    row = state[table.name].pop(key)
    for child in tables:  # ON DELETE CASCADE
        for reference in child.foreign_keys:
            if reference.column.table is table:
                for child_key, child_row in list(state[child.name].items()):
                    if child_row[str(reference.parent.name)] == row[str(reference.column.name)]:
                        del state[child.name][child_key]
                        events.append(Event(child, "d", before=child_row))
    events.append(Event(table, "d", before=row))


def _allowed(tables: Sequence[Table], state: State) -> bool:
    for table in tables:
        rows = state[table.name].values()
        for key in table.foreign_keys:
            if key.column.table.name in state:
                there = {row[str(key.column.name)] for row in state[key.column.table.name].values()}
                refers = (row[str(key.parent.name)] for row in rows)
                if any(value.postgres is not None and value not in there for value in refers):
                    return False
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                seen = [tuple(row[str(column.name)] for column in constraint.columns) for row in rows]
                if len(set(seen)) < len(seen):
                    return False
    return True
