"""Users and their addresses."""

from sqlalchemy import Column, DateTime, ForeignKey, Integer, Table, Text, Uuid

from command_api.tables.metadata import METADATA

users = Table(
    "users",
    METADATA,
    Column("user_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("avatar_url", Text),
    Column("last_seen_at", DateTime(timezone=True)),
    Column("version", Integer, nullable=False, server_default="1"),
)

addresses = Table(
    "addresses",
    METADATA,
    Column("address_id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("label", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("postcode", Text, nullable=False),
)
