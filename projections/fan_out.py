"""Fan-out policies: which rows of a feed are copied to its readers, and which are merged when it is read.

    FanOut(author="author_id", edges=follows, edge_reader="follower_id", edge_author="followee_id",
           threshold=10_000, pull=POSTS_BY_AUTHOR, following=FOLLOWEES_BY_USER,
           active=Active(table=users, reader="user_id", seen="last_seen_at", within=timedelta(days=7)), cap=800)

A feed is a read model over edges (who follows whom) and entries (posts); its partition is a reader. The policy changes
where rows are, never what a reader gets: pushed rows and pulled ones together are the select(). Authors with at least
`threshold` edges are *hot*: their entries are not copied but taken from `pull` at read time, until their edges fall
below `threshold` * `back`. Readers unseen for `active.within` get no new copies; theirs is answered from Postgres until
they are back. A partition keeps its newest `cap` copies.

The engine publishes what a reader must know beside the read model's table: the hot authors (`hot_table`: one partition,
a row each) and the readers whose copies are not whole (`skipped_table`: a row each).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Table

from projections.values import Kind, ValueType, value_type

if TYPE_CHECKING:
    from projections.read_model import ReadModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Active:
    """Who counts as active: readers whose `seen` is at most `within` before a new entry's commit; null is never seen.

    table: the source table with one row a reader. reader: its column with the reader's id. seen: its timestamptz column.
    """

    table: Table
    reader: str
    seen: str
    within: timedelta

    def faults(self, readers: ValueType) -> str | None:
        """What can't be; None when nothing. readers: the type of the feed's reader."""
        for name in (self.reader, self.seen):
            if name not in self.table.columns:
                return f"fan_out.active: {self.table.name} has no column {name!r}"
        if value_type(self.table.columns[self.seen].type).kind is not Kind.TIMESTAMPTZ:
            return f"fan_out.active.seen: {self.table.name}.{self.seen} must be a timestamptz: DateTime(timezone=True)"
        kind = value_type(self.table.columns[self.reader].type).kind
        if kind is not readers.kind:
            return (
                f"fan_out.active.reader: {self.table.name}.{self.reader} is of type {kind}, and the feed's reader of"
                f" {readers.kind}: name the column with the same ids"
            )
        if self.within <= timedelta():
            return "fan_out.active.within must be positive"
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class FanOut:
    """The policy of a feed.

    author: the column of the feed that names whose entry a row is; `edges` has it as `edge_author`, and the reader as
        `edge_reader`.
    threshold: edges of an author from which on the entries are merged; back: the share of it below which they are copied
        again, so that an author at the limit does not flap. A whole snapshot decides by the threshold alone.
    pull: a read model of the same columns without the reader, its partition the author, its clustering the feed's.
    following: a read model ((reader,), author) of `edges`.
    active: None copies to everybody. cap: copies that a partition keeps, None for all.
    """

    author: str
    edges: Table
    edge_reader: str
    edge_author: str
    threshold: int
    pull: ReadModel
    following: ReadModel
    back: float = 0.9
    active: Active | None = None
    cap: int | None = None

    def faults(self, model: ReadModel) -> str | None:
        """What contradicts the declaration of `model`; None when nothing does."""
        columns = model.columns
        if len(model.partition_key) != 1:
            return "fan_out needs a partition key of one column, the reader"
        (reader,) = model.partition_key
        if self.author not in columns or self.author == reader:
            return f"fan_out.author {self.author!r} must be a column of the select(), and not the reader"
        for name in (self.edge_reader, self.edge_author):
            if name not in self.edges.columns:
                return f"fan_out: {self.edges.name} has no column {name!r}"
        if self.threshold < 1:
            return "fan_out.threshold must be at least 1"
        if not 0 < self.back <= 1:
            return "fan_out.back must be above 0 and at most 1"
        if self.cap is not None and self.cap < 1:
            return "fan_out.cap must be at least 1"
        if self.active is not None and (fault := self.active.faults(columns[reader])) is not None:
            return fault
        scheduled = {"pull.refresh": self.pull, "following.refresh": self.following, "refresh": model}
        for name, one in scheduled.items():
            if one.refresh is not None:
                return (
                    f"fan_out: {name} of {one.name!r} must be None: a feed, its pull and its following are read together as one"
                    " position's, and a schedule gives each its own; leave refresh out"
                )
        if self.pull.partition_key != (self.author,) or self.pull.clustering != model.clustering:
            return f"fan_out.pull {self.pull.name!r} must have the key (({self.author}), and the feed's clustering key)"
        wanted = {name: kind for name, kind in columns.items() if name != reader}
        if self.pull.columns != wanted:
            return f"fan_out.pull {self.pull.name!r} must have the feed's columns without {reader!r}, in their order"
        if self.following.partition_key != (reader,) or [c.column for c in self.following.clustering] != [self.author]:
            return f"fan_out.following {self.following.name!r} must have the key (({reader}), {self.author})"
        return None


def hot_table(name: str) -> str:
    """Table of the authors whose entries readers of `name` must merge: PRIMARY KEY (shard, author), a row each."""
    return f"{name}__hot"


def skipped_table(name: str) -> str:
    """Table of the readers whose partition of `name` is not whole: PRIMARY KEY (reader), a row each."""
    return f"{name}__skipped"
