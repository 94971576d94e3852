"""Channels and their messages, month by month.

A message's time is that of its id (a uuid v7), which a constraint holds: so a table that is partitioned by time, whose
primary key must name the time, still has each message_id once, a message is found in its month by its id alone, and
the order of the ids is the order of the times. The months are partitions of their own (`command_api.months`).
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
    Column("sent_at", DateTime(timezone=True), primary_key=True),
    Column("channel_id", Uuid, ForeignKey("channels.channel_id"), nullable=False),
    Column("author_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    CheckConstraint("uuid_extract_version(message_id) = 7", name="time_ordered_id"),
    CheckConstraint("sent_at is not distinct from uuid_extract_timestamp(message_id)", name="time_of_its_id"),
    Index(None, "channel_id", "message_id"),
    postgresql_partition_by="RANGE (sent_at)",
)
