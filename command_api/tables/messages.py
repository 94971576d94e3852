"""Channels and their messages, month by month.

A month is a range of ids, which are uuid v7 and so in the order of time: the primary key stays the id alone (partitioned
by a time, it would have to name the time too), and Postgres looks into one month for a message. A message's time is that
of its id, which a constraint holds; so the month of an id is the month of its message. The months are partitions of
their own (`command_api.months`).
"""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Index, Integer, Table, Text, Uuid

from command_api.tables.metadata import METADATA

channels = Table(
    "channels",
    METADATA,
    Column("channel_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
)

messages = Table(
    "messages",
    METADATA,
    Column("message_id", Uuid, primary_key=True),
    Column("sent_at", DateTime(timezone=True), nullable=False),
    Column("channel_id", Uuid, ForeignKey("channels.channel_id"), nullable=False),
    Column("author_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    CheckConstraint("uuid_extract_version(message_id) = 7", name="time_ordered_id"),
    CheckConstraint("sent_at is not distinct from uuid_extract_timestamp(message_id)", name="time_of_its_id"),
    Index(None, "channel_id", "message_id"),
    postgresql_partition_by="RANGE (message_id)",
)
