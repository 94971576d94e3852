"""Channels and messages, partitioned by month; the months at hand are made, `command-api months` makes the others.

Revises: 0003. A month is in a schema of its own, where only its owner comes in: everybody else goes through messages.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from command_api import months
from command_api.migrations import roles

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the months from the last one to the third coming one."""
    op.create_table(
        "channels",
        sa.Column("channel_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("channel_id", name="pk_channels"),
    )
    op.create_table(
        "messages",
        sa.Column("message_id", sa.Uuid, nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channel_id", sa.Uuid, nullable=False),
        sa.Column("author_id", sa.Uuid, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("message_id", name="pk_messages"),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.channel_id"], name="fk_messages_channel_id_channels"),
        sa.ForeignKeyConstraint(["author_id"], ["users.user_id"], name="fk_messages_author_id_users"),
        sa.CheckConstraint("uuid_extract_version(message_id) = 7", name="ck_messages_time_ordered_id"),
        sa.CheckConstraint(
            "sent_at is not distinct from uuid_extract_timestamp(message_id)", name="ck_messages_time_of_its_id"
        ),
        postgresql_partition_by="RANGE (message_id)",
    )
    op.create_index("ix_messages_author_id", "messages", ["author_id"])
    op.create_index("ix_messages_channel_id_message_id", "messages", ["channel_id", "message_id"])
    op.execute(f"create schema {months.SCHEMA}")
    today = datetime.now(UTC).date()
    for count in range(-1, 4):
        for statement in months.creation(months.month_after(today, count)):
            op.execute(statement)
    for statement in roles.grants(("channels", "messages"), ()):
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables with their months."""
    op.drop_table("messages")
    op.execute(f"drop schema {months.SCHEMA}")
    op.drop_table("channels")
