"""The durable queue of changes that wait: those that touch many keys, and those of columns with a budget.

An entry is a parent's row (the values that find its children) and a place in the order of the children's primary key;
it is added, moved on and deleted in the replica's transaction, so a crash goes on where the last commit was. `since` is
the position before the batch that made it: a read model with entries covers no more than the oldest one's. A parent
that changes again before its children are worked off costs nothing more; one that changes meanwhile is gone through once
more afterwards, for what the first pass had already passed.

An entry of a column with a budget is *timed*: it is worked off when it is as old as the budget. Its time is this
machine's, and says only when keys are touched; what is written for them is what is true by then.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from projector.compile.program import Program
from projector.compile.wide import WideStatement, parameters

MOST_PARENTS = 1_000  # of more than these in a batch, it is a load of many rows and not a change that fans out
CREATE = (
    "CREATE TABLE main.deferred (id INTEGER PRIMARY KEY, model TEXT NOT NULL, statement TEXT NOT NULL, parent TEXT NOT NULL,"
    " since INTEGER NOT NULL, since_at INTEGER NOT NULL, again INTEGER, again_at INTEGER, after TEXT, done INTEGER NOT NULL, total INTEGER NOT NULL,"
    " due INTEGER NOT NULL, UNIQUE (model, statement, parent))",  # due: microseconds, 0 for an entry without a time
    "CREATE INDEX main.deferred_since ON deferred (model, since)",
    "CREATE INDEX main.deferred_due ON deferred (due)",
)

Since = tuple[int, int]
"""A position: its LSN, and the commit time of the first transaction after it (microseconds)."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is put aside for a read model. entries: parents; done, total: keys of the parents in hand.

    pending: keys that wait for the time of a column's budget. since, since_at: the position that the model covers no more
    than, and the commit time there (microseconds).
    """

    entries: int
    done: int
    total: int
    pending: int
    since: int
    since_at: int


class _Entry(NamedTuple):
    number: int
    model: str
    statement: str
    parent: str
    again: int | None
    after: str | None
    total: int
    due: int


class Deferred:
    """The queue of one replica. saved: by read model, writes that merging the changes of timed entries made needless."""

    def __init__(
        self, connection: sqlite3.Connection, program: Program, clock: Callable[[], float] = time.time
    ) -> None:
        """clock: seconds; of timed entries."""
        self.clock = clock
        self.saved: Counter[str] = Counter()
        self._run = connection.execute
        known = dict(_statements(program))
        self._statements = {place: wide for place, (wide, _) in known.items()}
        self._budgets = {place: budget for place, (_, budget) in known.items()}
        self._longest = max(self._budgets.values(), default=0)
        self._timed_first = self._untimed = False
        self._soonest: int | None = None
        self.reread()

    @property
    def waiting(self) -> bool:
        """Whether something is to be worked off now."""
        return self._untimed or (self._soonest is not None and self._is_due(self._soonest))

    @property
    def any(self) -> bool:
        """Whether there are entries at all."""
        return self._untimed or self._soonest is not None

    def reread(self) -> None:
        """Look at the queue again, after a rollback."""
        self._look()
        pending = self._run("SELECT model, sum(total) FROM main.deferred WHERE due > 0 GROUP BY model")
        self._pending: Counter[str] = Counter(dict(pending.fetchall()))
        self.saved.clear()

    def put(self, model: str, statement: WideStatement, since: Since, most: int) -> bool:
        """Put a statement's images aside when they find more than `most` keys; False when they are to be taken at once.

        since: the position before the batch.
        """
        (found,) = self._run(statement.probe, {"n": most + 1}).fetchone()
        if found <= most:
            return False
        parents = self._run(f"{statement.images} LIMIT {MOST_PARENTS + 1}").fetchall()
        if len(parents) > MOST_PARENTS:
            return False
        for parent in parents:
            self._add(model, statement, parent, since, due=0)
        return True

    def keep(self, model: str, statement: WideStatement, since: Since, budget: timedelta) -> None:
        """Put a statement's images aside until they are as old as a budget. since: the position before the batch."""
        due = int(self.clock() * 1e6) + budget // _MICROSECOND
        for parent in self._run(statement.images):  # one by one: a transaction may have any number
            self._add(model, statement, parent, since, due)

    def drop_written(self, model: str) -> None:
        """Forget what waits for a budget of parents whose one key is touched: its row is written whole at this cut."""
        if not self._pending[model]:
            return
        for (of, name), statement in self._statements.items():
            if of != model or not self._budgets[of, name] or statement.parents is None:
                continue
            found = self._run(
                "DELETE FROM main.deferred WHERE model = ? AND statement = ? AND due > 0 AND after IS NULL"
                f" AND parent IN ({statement.parents}) RETURNING total",
                (model, name),
            ).fetchall()
            if found:
                total = sum(number for (number,) in found)
                self._pending[model] -= total
                self.saved[model] += total
                self._look()

    def slice(self, most: int) -> dict[str, int]:
        """Touch the next keys of what is to be worked off now, about `most`: the number by read model."""
        touched: Counter[str] = Counter()
        left = most
        while left > 0 and (entry := self._next()) is not None:
            number = self._work(entry, left)
            touched[entry.model] += number
            left -= max(number, 1)
        self._timed_first = not self._timed_first
        return touched

    def progress(self) -> dict[str, Progress]:
        """By read model, of those that have something put aside."""
        counts = self._run(
            "SELECT model, count(*), sum(done), sum(max(done, total)) FROM main.deferred WHERE due = 0 GROUP BY model"
        )
        untimed = {model: (n, done, total) for model, n, done, total in counts.fetchall()}
        found = {}
        for model in untimed.keys() | +self._pending:
            n, done, total = untimed.get(model, (0, 0, 0))
            oldest = "SELECT since, since_at FROM main.deferred WHERE model = ? ORDER BY since LIMIT 1"
            since, since_at = self._run(oldest, (model,)).fetchone()
            pending = self._pending[model]
            found[model] = Progress(entries=n, done=done, total=total, pending=pending, since=since, since_at=since_at)
        return found

    def held_back(self, model: str) -> int | None:
        """The position before the oldest change that may still take rows away; None when there is none.

        Changes with a budget never do.
        """
        oldest = "SELECT min(since) FROM main.deferred WHERE model = ? AND due = 0"
        since: int | None = self._run(oldest, (model,)).fetchone()[0] if self._untimed else None
        return since

    def _add(self, model: str, statement: WideStatement, parent: tuple[Any, ...], since: Since, due: int) -> None:
        name, values = _name(statement), parent_text(parent)
        known = self._run(
            "UPDATE main.deferred SET again = iif(after IS NULL, again, coalesce(again, ?)),"
            " again_at = iif(after IS NULL, again_at, coalesce(again_at, ?))"
            " WHERE model = ? AND statement = ? AND parent = ? RETURNING total, again = ?",
            (*since, model, name, values, since[0]),
        ).fetchone()
        if known is not None:
            total, first_again = known
            if due and not first_again:
                self.saved[model] += total
            return
        (total,) = self._run(statement.count, parameters("i", parent)).fetchone()
        if not total:
            return
        self._run(
            "INSERT INTO main.deferred (model, statement, parent, since, since_at, done, total, due)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            (model, name, values, *since, total, due),
        )
        if due:
            self._pending[model] += total
            self._soonest = due if self._soonest is None else min(due, self._soonest)
        else:
            self._untimed = True

    def _next(self) -> _Entry | None:
        """The entry whose turn it is; those with a time and those without take turns."""
        for timed in (self._timed_first, not self._timed_first):
            if timed and (self._soonest is None or not self._is_due(self._soonest)):
                continue
            if not timed and not self._untimed:
                continue
            which = "due > 0 ORDER BY due" if timed else "due = 0 ORDER BY since"
            return _Entry(
                *self._run(
                    "SELECT id, model, statement, parent, again, after, total, due FROM main.deferred"
                    f" WHERE {which}, id LIMIT 1"
                ).fetchone()
            )
        return None

    def _work(self, entry: _Entry, most: int) -> int:
        """Touch the next keys of an entry, which is moved on or deleted: how many."""
        statement = self._statements[entry.model, entry.statement]
        first = entry.after is None
        given: dict[str, Any] = {**parameters("i", json.loads(entry.parent)), "n": most}
        if entry.after is not None:
            given |= parameters("c", json.loads(entry.after))
        few = first and entry.total <= most
        end = None if few else self._run(statement.first_end if first else statement.end, given).fetchone()
        if end is not None:
            given |= parameters("e", end)
            touched = self._run(statement.first_slice if first else statement.slice, given).rowcount
            self._run(
                "UPDATE main.deferred SET after = ?, done = done + ? WHERE id = ?",
                (json.dumps(end), most, entry.number),
            )
            return touched
        touched = self._run(statement.whole if first else statement.rest, given).rowcount
        if entry.again is None:
            self._run("DELETE FROM main.deferred WHERE id = ?", (entry.number,))
            if entry.due:
                self._pending[entry.model] -= entry.total
        else:
            due = int(self.clock() * 1e6) + self._budgets[entry.model, entry.statement] if entry.due else 0
            self._run(
                "UPDATE main.deferred SET since = again, since_at = again_at, again = NULL, again_at = NULL, after = NULL,"
                " done = 0, due = ? WHERE id = ?",
                (due, entry.number),
            )
        self._look()
        return touched

    def _is_due(self, due: int) -> bool:
        """Also when it lies further ahead than any budget: then the clock was set back."""
        now = int(self.clock() * 1e6)
        return due <= now or due > now + self._longest

    def _look(self) -> None:
        self._untimed = self._run("SELECT 1 FROM main.deferred WHERE due = 0 LIMIT 1").fetchone() is not None
        (self._soonest,) = self._run("SELECT min(due) FROM main.deferred WHERE due > 0").fetchone()


def parent_text(values: Sequence[Any]) -> str:
    """What an entry keeps of a parent: the values that find its children, as SQLite's json_array() writes them."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def is_foreign(connection: sqlite3.Connection, program: Program) -> bool:
    """Whether the queue holds what the program has no statement for: it was filled for other read models or budgets."""
    found = connection.execute("SELECT DISTINCT model, statement FROM main.deferred").fetchall()
    return not set(found) <= dict(_statements(program)).keys()


def _statements(program: Program) -> Iterator[tuple[tuple[str, str], tuple[WideStatement, int]]]:
    """((read model, name), (statement, its budget in microseconds, 0 for none)) of all that may be put aside."""
    for model in program.models:
        for statement in model.touch:
            if statement.wide is not None:
                budget = (statement.budget or timedelta()) // _MICROSECOND
                yield (model.model.name, _name(statement.wide)), (statement.wide, budget)


def _name(statement: WideStatement) -> str:
    """What tells a read model's statements apart for as long as the replica's program stays the same."""
    return hashlib.sha256(f"{statement.parent}: {statement.count}".encode()).hexdigest()[:16]
