"""Who follows whom: the edges along which posts reach timelines; they go with either of the two users."""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Table, Uuid, func

from command_api.tables.metadata import METADATA

follows = Table(
    "follows",
    METADATA,
    Column("follower_id", Uuid, ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True),
    Column("followee_id", Uuid, ForeignKey("users.user_id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("follower_id <> followee_id", name="of_somebody_else"),
)
