"""A feed as the engine maintains it: the select() without the entries of hot authors, which readers merge themselves.

The hot authors of a read model are a table of the replica, written by the worker itself (`projector.feeds.hot`) and
never by the log. The pushed select() is the declared one, LEFT JOINed to that table by its author and kept where it
finds none; so an author that becomes hot, or is no longer, is an image like any other, and touches its entries' copies.

New entries of hot authors have no copies before or after, and are not looked for: `FeedProgram.copied` is the condition
that statements carry. Until the copies of an author that became hot are gone (`FLIPS`), they are looked for all the same,
because whatever changes meanwhile has to find them.
"""

from __future__ import annotations

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

    def copied(self, author: str) -> str:
        """SQL that holds unless the author (an SQL expression) is hot and has no copies left."""
        hot, model = replica_name(self.hot.fullname), literal(self.model)
        return (
            f"(NOT EXISTS (SELECT 1 FROM {hot} AS h WHERE h.{AUTHOR} = {author})"
            f" OR EXISTS (SELECT 1 FROM {FLIPS} AS f WHERE f.model = {model} AND f.{AUTHOR} = {author}))"
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
