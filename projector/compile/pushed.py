"""A feed as the engine maintains it: the select() without the entries of hot authors, which readers merge themselves.

The hot authors of a read model are a table of the replica, written by the worker itself (`projector.feeds.hot`) and
never by the log. The pushed select() is the declared one, LEFT JOINed to that table by its author and kept where it
finds none; so an author that becomes hot, or is no longer, is an image like any other, and touches its entries' copies.

New entries of hot authors have no copies before or after, and are not looked for: statements carry a condition. Until the
copies of an author that became hot are gone (`FLIPS`), what is there no more is looked for all the same: the flip goes through
the copies of entries and edges that are there when it comes to them, and finds no others. An author who was hot up to the end
of a batch's last transaction, and is not from there on, is `THAWED`: what went in the batch had no copies, however much it was (a
hundred thousand followers at once, each with all entries), and those of what is there are the flip's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, MetaData, Table
from sqlalchemy.sql.elements import Label

from projections.fan_out import FanOut
from projections.inferred import column_type
from projections.read_model import ReadModel
from projections.values import ValueType
from projector.compile.expression import literal
from projector.compile.names import replica_name

AUTHOR = "author"
FLIPS = 'main."flips"'
"""(model, author): authors whose flip is not worked off: copies are still deleted, or still written."""
CREATE_FLIPS = f"CREATE TABLE {FLIPS} (model TEXT NOT NULL, author, PRIMARY KEY (model, author)) WITHOUT ROWID"
THAWED = 'temp."thawed"'
"""(model, author): authors who are hot no longer from the end of the batch's last transaction on, and had no copies up to there."""
CREATE_THAWED = (
    f"CREATE TABLE IF NOT EXISTS {THAWED} (model TEXT NOT NULL, author, PRIMARY KEY (model, author)) WITHOUT ROWID"
)
_SCHEMA = "lockstep_feeds"  # of no table in Postgres: no record of the log is ever taken for one of these


@dataclass(frozen=True, kw_only=True)
class FeedProgram:
    """What a feed adds to its program.

    hot: the replica's table of hot authors, a row each. author: the type of its column. counts: its edges by author.
    edges: full name of the edges' table.
    """

    model: str
    policy: FanOut
    hot: Table
    author: ValueType

    @property
    def edges(self) -> str:
        """Full name of the table of edges."""
        return str(self.policy.edges.fullname)

    @property
    def counts(self) -> str:
        """The replica's table of edges by author, quoted: (author, n), without authors that have none."""
        return replica_name(f"{_SCHEMA}.{self.model} edges")

    def create(self) -> list[str]:
        """CREATE statements of what no source table stands for."""
        kind = self.author.sqlite
        return [f"CREATE TABLE {self.counts} ({AUTHOR} {kind} PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID"]

    def kept(self) -> list[Any]:
        """What a replica's book-keeping of partitions depends on."""
        active = self.policy.active
        seen = [active.table.fullname, active.reader, active.seen, active.within.total_seconds()] if active else []
        return [self.policy.cap, *seen]

    def looked_up(self, author: str) -> str:
        """Joins that give `copies` what it asks of the author, an SQL expression."""
        model = literal(self.model)
        # Without its type an author is looked up by both columns: those tables' own have none.
        return (
            f' LEFT JOIN {replica_name(self.hot.fullname)} AS "(hot)" ON "(hot)".{AUTHOR} = {author}'
            f' LEFT JOIN {FLIPS} AS "(flip)" ON "(flip)".model = {model} AND "(flip)".{AUTHOR} = +{author}'
            f' LEFT JOIN {THAWED} AS "(thawed)" ON "(thawed)".model = {model} AND "(thawed)".{AUTHOR} = +{author}'
        )

    def copies(self, gone: Sequence[str]) -> tuple[str, str, str]:
        """SQL conditions behind `looked_up` that hold unless there can be no copy that only they find.

        gone: conditions of which one holds where a row is meant that is there no more. Only the last asks for more than the
        author, so that the others are settled before the rows are joined.
        """
        few, flipping = '"(hot)".author IS NULL', '"(flip)".author IS NOT NULL'
        return '"(thawed)".author IS NULL', f"({few} OR {flipping})", f"({' OR '.join((few, *gone))})"

    def copied(self, author: str) -> str:
        """SQL that holds unless the author (an SQL expression) is hot and has no copies left."""
        hot, model = replica_name(self.hot.fullname), literal(self.model)
        return (
            f"(NOT EXISTS (SELECT 1 FROM {hot} AS h WHERE h.{AUTHOR} = {author})"
            f" OR EXISTS (SELECT 1 FROM {FLIPS} AS f WHERE f.model = {model} AND f.{AUTHOR} = +{author}))"
        )


def feed_program(model: ReadModel) -> FeedProgram | None:
    """What a declared feed adds; None for a read model without fan_out."""
    if model.fan_out is None:
        return None
    column = _author(model)
    hot = Table(model.name, MetaData(), Column(AUTHOR, column.type, primary_key=True), schema=_SCHEMA)
    return FeedProgram(model=model.name, policy=model.fan_out, hot=hot, author=column_type(column))


def pushed(model: ReadModel, feed: FeedProgram) -> ReadModel:
    """The read model of the copies."""
    column = _author(model)
    author = column.element if isinstance(column, Label) else column
    found = feed.hot.c[AUTHOR]
    return replace(model, select=model.select.outerjoin(feed.hot, found == author).where(found.is_(None)))


def _author(model: ReadModel) -> Any:
    assert model.fan_out is not None, "a feed"
    return model.select.selected_columns[model.fan_out.author]
