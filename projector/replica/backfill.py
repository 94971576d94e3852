"""The durable queue of read models whose every row is to be written once more, because their table got columns.

A read model's rows all come out of rows of its first relation, a source table or a group. So a fill goes through that
relation by its primary key and takes each slice of it for images, as if nothing but its rows' columns had changed: what
touches their keys is what a change of them would. It is one row here, moved on and deleted in the replica's transaction;
a crash goes on where the last commit was. Changes meanwhile write whole rows anyway, wherever the fill is.

Not promised: that a fill is begun again in a replica that is built anew; `projector.added` sees to that.
"""

from __future__ import annotations

import sqlite3
from ast import literal_eval
from collections.abc import Container, Iterator
from dataclasses import dataclass

from sqlalchemy import Table

from projector.compile.expression import identifier
from projector.compile.names import WEIGHT, images_name, replica_name
from projector.compile.program import ModelProgram, Program
from projector.compile.wide import parameters

CREATE = (
    "CREATE TABLE IF NOT EXISTS main.backfills (model TEXT PRIMARY KEY, columns TEXT NOT NULL, after TEXT,"
    " done INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID"
)


@dataclass(frozen=True, kw_only=True)
class Fill:
    """A read model's fill: how many rows of its first relation are done, of about how many."""

    done: int
    total: int


class Backfills:
    """The fills of one replica."""

    def __init__(self, connection: sqlite3.Connection, program: Program) -> None:
        self._run = connection.execute
        self._ways = {model.model.name: _Way.of(program, model) for model in program.models}
        self._run(CREATE)
        self.open: dict[str, Fill] = {}
        self._pace: dict[str, float] = {}  # rows of the first relation for a key of the slice
        self.reread()

    def reread(self) -> None:
        """Look at the queue again, after a rollback."""
        rows = self._run("SELECT model, done, total FROM main.backfills").fetchall()
        self.open = {model: Fill(done=done, total=total) for model, done, total in rows if model in self._ways}

    def begin(self, model: str, columns: tuple[str, ...]) -> None:
        """Begin a fill, or begin anew one of other columns; one that is under way goes on."""
        names = ", ".join(sorted(columns))
        if self._run("SELECT 1 FROM main.backfills WHERE model = ? AND columns = ?", (model, names)).fetchone():
            return
        (total,) = self._run(self._ways[model].count).fetchone()
        self._run("INSERT OR REPLACE INTO main.backfills VALUES (?, ?, NULL, 0, ?)", (model, names, total))
        self.open[model] = Fill(done=0, total=total)

    def work(self, most: int, silent: Container[str] = ()) -> Iterator[tuple[str, int]]:
        """Touch about `most` keys of each fill, those that come next: (read model, their number). silent: not these."""
        for model in [name for name in self.open if name not in silent]:
            touched = self._work(model, max(1, int(most * self._pace.get(model, 1.0))))
            # A row of an edge finds hundreds of keys: slices are to be of keys.
            self._pace[model] = min(1.0, self._pace.get(model, 1.0) * most / max(touched, most / 2))
            yield model, touched

    def _work(self, model: str, rows: int) -> int:
        way, fill = self._ways[model], self.open[model]
        (after,) = self._run("SELECT after FROM main.backfills WHERE model = ?", (model,)).fetchone()
        begun = after is not None
        given = {"n": rows, **parameters("c", literal_eval(after) if begun else ())}
        # The slice's end first: it bounds both, so that nothing depends on the order of an INSERT … SELECT.
        end = self._run(way.end if begun else way.first_end, given).fetchone()
        given |= parameters("e", end or ())
        statement = (way.rest if begun else way.whole) if end is None else way.slice if begun else way.first_slice
        done = fill.done + self._run(statement, given).rowcount
        touched = sum(self._run(statement).rowcount for statement in way.touch)
        self._run(way.forget)
        if end is None:
            self._run("DELETE FROM main.backfills WHERE model = ?", (model,))
            del self.open[model]
            return touched
        self.open[model] = Fill(done=done, total=max(fill.total, done))
        self._run("UPDATE main.backfills SET after = ?, done = ? WHERE model = ?", (repr(end), done, model))
        return touched


@dataclass(frozen=True, kw_only=True)
class _Way:
    """SQL through a read model's first relation. c0, … is where the last slice ended, e0, … where this one ends, n its rows.

    count: the relation's rows. end: the last row of a slice; slice: its rows as images; rest: of what is left. first_end,
    first_slice, whole: the same from the beginning. touch: the keys of all images. forget: the images.
    """

    count: str
    first_end: str
    end: str
    first_slice: str
    slice: str
    rest: str
    whole: str
    touch: tuple[str, ...]
    forget: str

    @classmethod
    def of(cls, program: Program, model: ModelProgram) -> _Way:
        relation = model.analysis.occurrences[0].table
        name = relation.fullname
        if isinstance(relation, Table):
            (table,) = (table for table in program.tables.values() if table.fullname == name)
            key, columns = table.key, tuple(table.columns)
            into = f"INSERT INTO {images_name(name)} SELECT {_list(columns)}, 0{', 0' if table.minor else ''}"
        else:
            key = tuple(k.name for k in relation.keys)
            into = f"INSERT INTO {images_name(name)} ({_list(key)}, {WEIGHT}) SELECT {_list(key)}, 0"
        found = f"FROM {replica_name(name)}"
        after, to_end = (
            f"({_list(key)}) {how} ({', '.join(f':{letter}{at}' for at in range(len(key)))})"
            for how, letter in ((">", "c"), ("<=", "e"))
        )
        end = f"SELECT {_list(key)} {found}{{}} ORDER BY {_list(key)} LIMIT 1 OFFSET :n - 1"
        return cls(
            count=f"SELECT count(*) {found}",
            first_end=end.format(""),
            end=end.format(f" WHERE {after}"),
            first_slice=f"{into} {found} WHERE {to_end}",
            slice=f"{into} {found} WHERE {after} AND {to_end}",
            rest=f"{into} {found} WHERE {after}",
            whole=f"{into} {found}",
            touch=tuple(statement.sql for statement in model.touch if statement.tables == {name}),
            forget=f"DELETE FROM {images_name(name)}",
        )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(identifier, names))
