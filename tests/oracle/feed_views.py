"""Feeds made to flip: a handful of readers and authors, thresholds of one to four edges, with every policy.

Their tables are small enough that follows, entries, flips and all that goes with them soon meet in the same rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from sqlalchemy import Column, DateTime, ForeignKey, Integer, MetaData, Select, Table, Text, func, select

from projections.fan_out import Active, FanOut
from projections.read_model import ReadModel, descending
from tests.oracle.values import NULL, Value, of

METADATA = MetaData()
reader = Table(
    "reader",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("seen", DateTime(timezone=True)),
)
"""Who reads, and when they were last seen."""
author = Table("author", METADATA, Column("id", Integer, primary_key=True), Column("name", Text, nullable=False))
edge = Table(
    "edge",
    METADATA,
    Column("reader_id", Integer, primary_key=True),
    Column("author_id", Integer, primary_key=True),
    Column("since", Integer, nullable=False),
)
"""Who reads whom; without constraints, so that edges of authors who are not there occur too."""
entry = Table(
    "entry",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("author_id", Integer, ForeignKey("author.id"), nullable=False),
    Column("at", Integer, nullable=False),
    Column("body", Text, nullable=False),
)
mark = Table(
    "mark", METADATA, Column("entry_id", Integer, primary_key=True), Column("reader_id", Integer, primary_key=True)
)
"""Who likes what; counted."""
TABLES = (reader, author, edge, entry, mark)


def some(*values: object) -> tuple[Value, ...]:
    """A domain of Python values."""
    return tuple(of(value) for value in values)


START = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
"""The commit time that `tests.oracle.log` gives to LSN 0; a millisecond an LSN."""
READERS, AUTHORS = some(0, 1, 2, 3, 4), some(10, 10, 10, 10, 11, 12)
"""One of the authors is talked about most, and is soon at any threshold."""
DOMAINS: dict[str, dict[str, tuple[Value, ...]]] = {
    "reader": {
        "id": READERS,
        "seen": (NULL, *some(*(START + timedelta(milliseconds=at) for at in (60, 105, 115, 125, 140, 400)))),
    },
    "author": {"id": AUTHORS, "name": some("Ann", "Bob")},
    "edge": {"reader_id": READERS, "author_id": AUTHORS, "since": some(1, 2)},
    "entry": {"id": some(*range(6)), "author_id": AUTHORS, "at": some(1, 2, 3), "body": some("", "x")},
    "mark": {"entry_id": some(*range(3)), "reader_id": READERS[:2]},
}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A feed with its two helpers. often: its tables, those that make it flip several times."""

    model: ReadModel
    often: tuple[Table, ...]

    @property
    def policy(self) -> FanOut:
        """The fan-out of the feed."""
        assert self.model.fan_out is not None, "a feed"
        return self.model.fan_out

    @cached_property
    def models(self) -> tuple[ReadModel, ...]:
        """The feed, its pull and its following."""
        return self.model, self.policy.pull, self.policy.following


def _entries(*first: Column[object]) -> Select[tuple[object, ...]]:
    liked = select(func.count()).where(mark.c.entry_id == entry.c.id).scalar_subquery()
    return select(*first, entry.c.at, entry.c.id, entry.c.author_id, author.c.name, entry.c.body, liked.label("liked"))


_NEWEST_FIRST = (descending("at"), "id")
PULL = ReadModel(
    name="entries_by_author",
    select=_entries().join(author, author.c.id == entry.c.author_id),
    partition_key=("author_id",),
    clustering_key=_NEWEST_FIRST,
)
FOLLOWING = ReadModel(
    name="authors_by_reader",
    select=select(edge.c.reader_id.label("reader"), edge.c.author_id, edge.c.since),
    partition_key=("reader",),
    clustering_key=("author_id",),
)
PLAIN_PULL = ReadModel(
    name="plain_by_author",
    select=select(entry.c.at, entry.c.id, entry.c.author_id, entry.c.body),
    partition_key=("author_id",),
    clustering_key=_NEWEST_FIRST,
)
ACTIVE = Active(table=reader, reader="id", seen="seen", within=timedelta(milliseconds=10))


def joined(threshold: int, back: float = 0.9, *, cap: int | None = None, active: Active | None = None) -> Feed:
    """As a home timeline is: edges, entries, their author's name and the number of those who like them."""
    model = ReadModel(
        name=f"feed_{threshold}_{back:.0%}".rstrip("%")
        + (f"_cap_{cap}" if cap else "")
        + ("_active" if active else ""),
        select=_entries(edge.c.reader_id.label("reader"))
        .join(edge, edge.c.author_id == entry.c.author_id)
        .join(author, author.c.id == entry.c.author_id),
        partition_key=("reader",),
        clustering_key=_NEWEST_FIRST,
        fan_out=FanOut(
            author="author_id",
            edges=edge,
            edge_reader="reader_id",
            edge_author="author_id",
            threshold=threshold,
            back=back,
            pull=PULL,
            following=FOLLOWING,
            cap=cap,
            active=active,
        ),
    )
    often = (edge, edge, edge, edge, entry, entry, author, mark)
    return Feed(model=model, often=(*often, reader, reader) if active else often)


def of_edges(threshold: int, back: float = 0.9, *, cap: int | None = None, active: Active | None = None) -> Feed:
    """The least that a feed can be: edges and entries, the author taken from the edge."""
    model = ReadModel(
        name=f"plain_{threshold}_{back:.0%}".rstrip("%")
        + (f"_cap_{cap}" if cap else "")
        + ("_active" if active else ""),
        select=select(
            edge.c.reader_id.label("reader"), entry.c.at, entry.c.id, edge.c.author_id, entry.c.body
        ).join_from(edge, entry, edge.c.author_id == entry.c.author_id),
        partition_key=("reader",),
        clustering_key=_NEWEST_FIRST,
        fan_out=FanOut(
            author="author_id",
            edges=edge,
            edge_reader="reader_id",
            edge_author="author_id",
            threshold=threshold,
            back=back,
            pull=PLAIN_PULL,
            following=FOLLOWING,
            cap=cap,
            active=active,
        ),
    )
    often = (edge, edge, edge, entry, entry, author)
    return Feed(model=model, often=(*often, reader, reader) if active else often)


def models_of(feeds: Iterable[Feed]) -> tuple[ReadModel, ...]:
    """Every read model of some feeds, once each."""
    return tuple({model.name: model for feed in feeds for model in feed.models}.values())


HOT = tuple(
    shape(threshold, back)
    for shape in (joined, of_edges)
    for threshold, back in ((1, 0.9), (2, 0.9), (2, 0.5), (3, 0.9), (3, 0.6), (4, 0.5))
)
"""Feeds with hot authors and nothing else."""
FEEDS: tuple[Feed, ...] = HOT
"""All of them; their names differ."""
