"""Time buckets: a declaration that contradicts itself is refused, and a value's bucket is the one that Postgres computes."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from cassandra.util import Date
from sqlalchemy import Text, cast, select

from command_api.tables import messages
from projections.messages import MESSAGE_BUCKETS_BY_CHANNEL, MESSAGES_BY_CHANNEL
from projections.read_model import DeclarationError, ReadModel, descending
from projections.time_buckets import TimeBucket, bucket_of, days_bucket
from projections.values import Kind, ValueType

BUCKET = TimeBucket(column="bucket", of="message_id", days=10, index=MESSAGE_BUCKETS_BY_CHANNEL)
C = messages.c


def changed(model: ReadModel = MESSAGES_BY_CHANNEL, **fields: Any) -> ReadModel:
    return replace(model, **fields)


def index(**fields: Any) -> TimeBucket:
    return replace(BUCKET, index=replace(MESSAGE_BUCKETS_BY_CHANNEL, **fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bucket": replace(BUCKET, days=0)}, "at least one day"),
        ({"bucket": replace(BUCKET, column="version")}, "one of several columns of the partition key"),
        ({"partition_key": ("bucket",)}, "one of several columns of the partition key"),
        ({"bucket": replace(BUCKET, column="channel_id")}, "must be an integer"),
        ({"bucket": replace(BUCKET, of="sent_at")}, "first clustering column"),
        ({"clustering_key": ()}, "first clustering column"),
        ({"clustering_key": ("message_id",)}, "in the order of 'message_id'"),
        ({"clustering_key": (descending("body"),), "bucket": replace(BUCKET, of="body")}, "has no time"),
        ({"bucket": index(partition_key=("message_count",))}, r"the key \(\(channel_id\), bucket\)"),
        ({"bucket": index(clustering_key=())}, r"the key \(\(channel_id\), bucket\)"),
        ({"bucket": index(clustering_key=("bucket",))}, "in the order of"),
        (
            {
                "bucket": index(
                    select=select(cast(C.channel_id, Text).label("channel_id"), days_bucket(C.sent_at, 10).label("bucket"))
                )
            },
            "types",
        ),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        changed(**fields)


DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("day", "bucket"), [(0, 0), (9, 0), (10, 1), (-1, 0), (-9, 0), (-10, -1), (-19, -1), (-20, -2), (20_000, 2_000)]
)
def test_the_bucket_of_a_value(day: int, bucket: int) -> None:
    for kind in (Kind.TIMESTAMPTZ, Kind.TIMESTAMP):
        assert bucket_of(ValueType(kind=kind), day * DAY, 10) == bucket
        assert bucket_of(ValueType(kind=kind), (day + 1) * DAY - 1, 10) == bucket
    date = Date(dt.date(1970, 1, 1) + dt.timedelta(days=day))
    assert bucket_of(ValueType(kind=Kind.DATE), date, 10) == bucket
    if day >= 0:
        last = ((day + 1) * DAY // 1000 - 1) << 80 | 7 << 76 | 2 << 62
        assert bucket_of(ValueType(kind=Kind.UUID), UUID(int=last), 10) == bucket


def test_only_a_uuid_v7_has_a_time() -> None:
    for other in (UUID(int=0), UUID("8b1a9953-c461-4296-a827-abf8c47804d7")):
        assert bucket_of(ValueType(kind=Kind.UUID), other, 10) is None
