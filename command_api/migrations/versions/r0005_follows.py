"""Who follows whom; and a user's posts by time, which a timeline that Postgres answers goes through newest first.

Revises: 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from command_api.migrations import roles

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; the index of posts by author becomes one by author and time."""
    op.create_table(
        "follows",
        sa.Column("follower_id", sa.Uuid, nullable=False),
        sa.Column("followee_id", sa.Uuid, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("follower_id", "followee_id", name="pk_follows"),
        sa.ForeignKeyConstraint(
            ["follower_id"], ["users.user_id"], name="fk_follows_follower_id_users", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["followee_id"], ["users.user_id"], name="fk_follows_followee_id_users", ondelete="CASCADE"
        ),
        sa.CheckConstraint("follower_id <> followee_id", name="ck_follows_of_somebody_else"),
    )
    op.create_index("ix_follows_followee_id", "follows", ["followee_id"])
    op.create_index("ix_posts_author_id_created_at_post_id", "posts", ["author_id", "created_at", "post_id"])
    op.drop_index("ix_posts_author_id", "posts")
    for statement in roles.grants(("follows",), ()):
        op.execute(statement)


def downgrade() -> None:
    """Drop the table."""
    op.create_index("ix_posts_author_id", "posts", ["author_id"])
    op.drop_index("ix_posts_author_id_created_at_post_id", "posts")
    op.drop_table("follows")
