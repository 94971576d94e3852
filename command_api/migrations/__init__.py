"""The database's schema as a series of alembic revisions, shipped inside the package.

Read `apply.py` (what ``command-api migrate`` does), then `roles.py`, then `versions` in order.
"""

from command_api.migrations.apply import migrate

__all__ = ["migrate"]
