"""The role that runs scheduled read models: it reads what the reader reads.

Revises: 0002. Its own schema is made by ``projector setup``, which knows the read models.
"""

from __future__ import annotations

from alembic import op

from command_api.migrations import roles

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the role."""
    op.execute(roles.creation(roles.REFRESHER))
    op.execute(roles.membership(roles.REFRESHER, roles.READER))


def downgrade() -> None:
    """The role stays, since other databases of the cluster may use it."""
