"""Posts and who likes them; likes go with their post and with their user."""

from sqlalchemy import Column, DateTime, ForeignKey, Index, Integer, Table, Text, Uuid, func

from command_api.tables.metadata import METADATA

posts = Table(
    "posts",
    METADATA,
    Column("post_id", Uuid, primary_key=True),
    Column("author_id", Uuid, ForeignKey("users.user_id"), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default="1"),
    Index(None, "author_id", "created_at", "post_id"),  # an author's posts, newest first
)

likes = Table(
    "likes",
    METADATA,
    Column("post_id", Uuid, ForeignKey("posts.post_id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
