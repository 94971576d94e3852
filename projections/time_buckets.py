"""Time buckets: a partition-key column that cuts a long partition into spans of days, which no client has to know.

    TimeBucket(column="bucket", of="message_id", days=10, index=MESSAGE_BUCKETS)

The column numbers the spans of `days` days since 1970-01-01, UTC, as `days_bucket` computes it from a source column.
Readers leave it out: the read API walks the buckets in the clustering order, and asks only those that `index` holds, a
read model with a row for each bucket that has rows. So a channel that was silent for years costs one read, not one a
span.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Integer, cast, literal

from projections.values import Kind, ValueType

if TYPE_CHECKING:
    from projections.read_model import ReadModel

_MICROS_PER_DAY = 86_400_000_000
_KINDS = (Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.DATE, Kind.UUID)


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeBucket:
    """One column of a partition key as a time bucket.

    column: the partition-key column, `days_bucket` of a time. days: its span.
    of: the first clustering column, whose order is that of the buckets: the time itself, or a uuid v7 of that time.
    index: the read model of the buckets that there are: the same partition key without `column`, clustered by `column`
        in the order of `of`.
    """

    column: str
    of: str
    days: int
    index: ReadModel

    def faults(self, model: ReadModel) -> str | None:
        """What contradicts the declaration of `model`; None when nothing does."""
        columns = model.columns
        if self.days < 1:
            return "a bucket spans at least one day"
        if self.column not in model.partition_key or len(model.partition_key) < 2:
            return f"the bucket {self.column!r} must be one of several columns of the partition key"
        if columns[self.column].kind is not Kind.INTEGER:
            return f"the bucket {self.column!r} must be an integer: see days_bucket()"
        if not model.clustering or model.clustering[0].column != self.of:
            return f"the bucket is of {self.of!r}, which must be the first clustering column"
        if columns[self.of].kind not in _KINDS:
            return f"{self.of!r} has no time: expected a timestamp, a date or a uuid v7"
        rest = tuple(name for name in model.partition_key if name != self.column)
        first = self.index.clustering[0] if self.index.clustering else None
        if self.index.partition_key != rest or first is None or first.column != self.column:
            return f"the index {self.index.name!r} must have the key (({', '.join(rest)}), {self.column})"
        if first.descending != model.clustering[0].descending:
            return f"the index {self.index.name!r} must keep {self.column!r} in the order of {self.of!r}"
        if any(self.index.columns[name] != columns[name] for name in (*rest, self.column)):
            return f"the index {self.index.name!r} must have the key columns' types"
        return None


def days_bucket(time: ColumnElement[Any], days: int) -> ColumnElement[int]:
    """The SQL of a bucket: the number of the span of `days` days, since 1970-01-01, that `time` lies in."""
    return cast(cast(time, Date) - literal(dt.date(1970, 1, 1), Date), Integer) // days


def bucket_of(kind: ValueType, value: Any, days: int) -> int | None:
    """The bucket of a clustering value as the read API and Cassandra hold it; None when it has no time.

    The quotient is toward zero, as Postgres's: the bucket 0 has the days on both sides of 1970-01-01.
    """
    if kind.kind is Kind.UUID:
        if not isinstance(value, UUID) or value.version != 7:
            return None
        day = (value.int >> 80) // 86_400_000
    elif kind.kind is Kind.DATE:
        day = value.days_from_epoch
    else:
        day = value // _MICROS_PER_DAY
    return day // days if day >= 0 else -(-day // days)
