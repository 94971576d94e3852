"""What a declaration is: a name, the SQL it replaces, and the key that queries use.

The select() is the contract: the engine keeps a Cassandra table equal to it, and verification runs it on Postgres under
``TimeZone=UTC``. Whether a select() can be maintained exactly is the compile's question (`projector.compile`); here
only the declaration's own shape is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Select

from projections.fan_out import FanOut
from projections.inferred import column_type
from projections.schedule import ScheduleError, parse
from projections.time_buckets import TimeBucket
from projections.values import Kind, UnsupportedTypeError, ValueType

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


class DeclarationError(ValueError):
    """A declaration that contradicts itself; the message names the read model, the field and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """One clustering column: rows of a partition are kept in this order, the first clustering column first."""

    column: str
    descending: bool = False


def descending(column: str) -> Clustering:
    """A clustering column whose newest or largest value comes first."""
    return Clustering(column=column, descending=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadModel:
    """One table of answers.

    name: the Cassandra table and the route, lower-case snake case.
    select: the SQL query that the table replaces; each column needs a name (`.label()`).
    partition_key: the columns that a query gives in full.
    clustering_key: the rest of the row's identity, in reading order; a bare name is ascending.
    staleness: how old a reply may get before it is a fault, None when nothing is promised.
    refresh: None keeps the table equal change by change. An interval ("15m", "1h") or five fields of cron, in UTC, has
        Postgres run the select() then, and the table is what it last gave; any SQL that Postgres runs will do.
    bucket: the partition-key column that is a time bucket, which readers leave out; None when there is none.
    fan_out: which rows are copied and which are merged at read time, for a feed; None copies all.
    owner: the partition-key column that says whose a partition is: only the token with that subject reads it, or one with
        a scope for everybody's. None leaves every partition to whoever may read the model.
    budgets: how old a column may get, by column name; changes of such a column alone are written together, at most once
        a row and budget. Other columns are not held back.
    """

    name: str
    select: Select[Any]
    partition_key: tuple[str, ...]
    clustering_key: tuple[Clustering | str, ...] = ()
    staleness: timedelta | None = None
    refresh: str | None = None
    bucket: TimeBucket | None = None
    fan_out: FanOut | None = None
    owner: str | None = None
    budgets: Mapping[str, timedelta] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(f"read model {self.name!r}: the name must match {_NAME.pattern}")
        names = [getattr(column, "name", column) for column in self.select.selected_columns]
        for name in names:
            if not _NAME.fullmatch(str(name)):
                raise DeclarationError(
                    f"{self.name}: column {str(name)!r} must match {_NAME.pattern}: give it a .label()"
                )
        if len(set(names)) < len(names):
            raise DeclarationError(f"{self.name}: two columns of the select() share a name: give one a .label()")
        if not self.partition_key:
            raise DeclarationError(f"{self.name}: partition_key is empty: name the columns that a query gives")
        for name in self.key:
            if name not in names:
                raise DeclarationError(f"{self.name}: key column {name!r} is not selected: add it to the select()")
        if len(set(self.key)) < len(self.key):
            raise DeclarationError(f"{self.name}: a column stands twice in the key")
        if self.staleness is not None and self.staleness <= timedelta():
            raise DeclarationError(f"{self.name}: staleness must be positive")
        if self.refresh is not None:
            try:
                parse(self.refresh)
            except ScheduleError as error:
                raise DeclarationError(f"{self.name}: refresh: {error}") from error
        for column in self.select.selected_columns:
            try:
                kind = column_type(column).kind
            except UnsupportedTypeError as error:
                raise DeclarationError(f"{self.name}.{column.name}: {error}") from error
            if kind is Kind.DOCUMENT and column.name in self.key:
                raise DeclarationError(
                    f"{self.name}: key column {column.name!r} is a document, which can't be asked for"
                )
        if self.bucket is not None and (fault := self.bucket.faults(self)) is not None:
            raise DeclarationError(f"{self.name}: {fault}")
        if self.fan_out is not None and (fault := self.fan_out.faults(self)) is not None:
            raise DeclarationError(f"{self.name}: {fault}")
        if self.owner is not None and (
            self.owner not in self.partition_key or (self.bucket is not None and self.owner == self.bucket.column)
        ):
            raise DeclarationError(
                f"{self.name}: owner {self.owner!r} must be a column of the partition key that a query gives"
            )
        for name, budget in self.budgets.items():
            if name not in names or name in self.key:
                raise DeclarationError(f"{self.name}: budgets: {name!r} must be a column outside the key")
            if budget <= timedelta():
                raise DeclarationError(f"{self.name}: budgets: that of {name!r} must be positive")
            if self.staleness is not None and budget >= self.staleness:
                raise DeclarationError(
                    f"{self.name}: budgets: that of {name!r} must be below the staleness, which it would break"
                )

    @property
    def clustering(self) -> tuple[Clustering, ...]:
        """The clustering key with every order spelled out."""
        return tuple(c if isinstance(c, Clustering) else Clustering(column=c) for c in self.clustering_key)

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the columns that identify a row: the partition key, then the clustering key."""
        return self.partition_key + tuple(c.column for c in self.clustering)

    @property
    def columns(self) -> dict[str, ValueType]:
        """Name to type, in the order of the select()."""
        return {str(column.name): column_type(column) for column in self.select.selected_columns}
