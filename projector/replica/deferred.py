"""The durable queue of changes that touch more keys than a batch should wait for.

An entry is a parent's row (the values that find its children) and a place in the order of the children's primary key;
it is added, moved on and deleted in the replica's transaction, so a crash goes on where the last commit was. `since` is
the position before the batch that made it: a read model with entries covers no more than the oldest one's. A parent
that changes again while its children are worked off is gone through once more afterwards, for what the first pass had
already passed.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from projector.compile.program import ModelProgram, Program
from projector.compile.wide import WideStatement, parameters

MOST_PARENTS = 1_000  # of more than these in a batch, it is a load of many rows and not a change that fans out
CREATE = (
    "CREATE TABLE main.deferred (id INTEGER PRIMARY KEY, model TEXT NOT NULL, statement TEXT NOT NULL, parent TEXT NOT NULL,"
    " since INTEGER NOT NULL, since_at INTEGER NOT NULL, again INTEGER, again_at INTEGER, after TEXT, done INTEGER NOT NULL, total INTEGER NOT NULL,"
    " UNIQUE (model, statement, parent))"
)

Since = tuple[int, int]
"""A position: its LSN, and the commit time of the last transaction there (microseconds)."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is put aside for a read model. entries: parents; done, total: keys of the parents in hand.

    since, since_at: the position that the model covers no more than, and the commit time there (microseconds).
    """

    entries: int
    done: int
    total: int
    since: int
    since_at: int


class Deferred:
    """The queue of one replica."""

    def __init__(self, connection: sqlite3.Connection, program: Program) -> None:
        self._run = connection.execute
        self._models = {model.model.name: model for model in program.models}
        self._statements: dict[tuple[str, str], WideStatement] = {
            (model.model.name, _name(statement.wide)): statement.wide
            for model in program.models
            for statement in model.touch
            if statement.wide is not None
        }
        self.waiting = self._any()

    def reread(self) -> None:
        """Look at the queue again, after a rollback."""
        self.waiting = self._any()

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
            (total,) = self._run(statement.count, parameters("i", parent)).fetchone()
            if total:
                self._run(
                    "INSERT INTO main.deferred (model, statement, parent, since, since_at, done, total)"
                    " VALUES (?, ?, ?, ?, ?, 0, ?) ON CONFLICT (model, statement, parent) DO UPDATE"
                    " SET again = coalesce(again, excluded.since), again_at = coalesce(again_at, excluded.since_at)",
                    (model, _name(statement), json.dumps(parent), *since, total),
                )
                self.waiting = True
        return True

    def slice(self, most: int) -> tuple[ModelProgram, int] | None:
        """Touch the next keys of the oldest entry, at most `most`: (the read model, how many), None when there is none."""
        entry = self._run(
            "SELECT id, model, statement, parent, again, after FROM main.deferred ORDER BY since, id LIMIT 1"
        ).fetchone()
        if entry is None:
            self.waiting = False
            return None
        number, model, name, parent, again, after = entry
        statement = self._statements[model, name]
        given: dict[str, Any] = {**parameters("i", json.loads(parent)), "n": most}
        if after is not None:
            given |= parameters("c", json.loads(after))
        end = self._run(statement.end if after is not None else statement.first_end, given).fetchone()
        if end is None:
            touched = self._rest(statement, given, first=after is None)
            if again is None:
                self._run("DELETE FROM main.deferred WHERE id = ?", (number,))
            else:
                self._run(
                    "UPDATE main.deferred SET since = again, again = NULL, after = NULL, done = 0 WHERE id = ?",
                    (number,),
                )
        else:
            given |= parameters("e", end)
            touched = self._run(statement.slice if after is not None else statement.first_slice, given).rowcount
            self._run(
                "UPDATE main.deferred SET after = ?, done = done + ? WHERE id = ?", (json.dumps(end), most, number)
            )
        return self._models[model], touched

    def progress(self) -> dict[str, Progress]:
        """By read model, of those that have something put aside."""
        rows = self._run(
            "SELECT model, count(*), sum(done), sum(max(done, total)), min(since), min(since_at) FROM main.deferred GROUP BY model"
        ).fetchall()
        return {
            model: Progress(entries=n, done=done, total=total, since=since, since_at=since_at)
            for model, n, done, total, since, since_at in rows
        }

    def _rest(self, statement: WideStatement, given: dict[str, Any], *, first: bool) -> int:
        return self._run(statement.whole if first else statement.rest, given).rowcount

    def _any(self) -> bool:
        return self._run("SELECT 1 FROM main.deferred LIMIT 1").fetchone() is not None


def _name(statement: WideStatement) -> str:
    """What tells a read model's statements apart for as long as the replica's program stays the same."""
    return f"{statement.parent}: {statement.count}"
