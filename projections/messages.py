"""A channel's messages, newest first, in buckets of ten days; a second read model says which buckets there are."""

from datetime import timedelta

from sqlalchemy import func, select

from command_api.tables import messages, users
from projections.read_model import ReadModel, descending
from projections.time_buckets import TimeBucket, days_bucket

_DAYS = 10
_bucket = days_bucket(messages.c.sent_at, _DAYS)

MESSAGE_BUCKETS_BY_CHANNEL = ReadModel(
    name="message_buckets_by_channel",
    select=select(
        messages.c.channel_id,
        _bucket.label("bucket"),
        func.count().label("message_count"),
    ).group_by(messages.c.channel_id, _bucket),
    partition_key=("channel_id",),
    clustering_key=(descending("bucket"),),
    staleness=timedelta(seconds=5),
)

MESSAGES_BY_CHANNEL = ReadModel(
    name="messages_by_channel",
    select=select(
        messages.c.channel_id,
        _bucket.label("bucket"),
        messages.c.message_id,
        messages.c.sent_at,
        messages.c.author_id,
        users.c.name.label("author_name"),
        users.c.avatar_url,
        messages.c.body,
        messages.c.version,
    ).join(users, users.c.user_id == messages.c.author_id),
    partition_key=("channel_id", "bucket"),
    clustering_key=(descending("message_id"),),
    staleness=timedelta(seconds=5),
    bucket=TimeBucket(column="bucket", of="message_id", days=_DAYS, index=MESSAGE_BUCKETS_BY_CHANNEL),
)
