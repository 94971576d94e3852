"""The replies already given to keyed requests: the command API's own book-keeping, which is never published.

It stands in a metadata of its own, so that whatever walks `METADATA` (the publication, the replica) does not meet it.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSON

from command_api.tables.metadata import METADATA

PRIVATE = MetaData(naming_convention=METADATA.naming_convention)

idempotency_keys = Table(
    "idempotency_keys",
    PRIVATE,
    Column("key", Text, CheckConstraint("length(key) between 1 and 255", name="key_bounded"), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),  # SHA-256 of what was asked for
    Column("status", SmallInteger),  # null only inside the transaction that claims the key
    Column("headers", JSON),
    Column("body", JSON),  # json, not jsonb: a repeated reply has the same bytes
    Column("token", Text),  # an LSN; known only after the commit, so it is filled in by a second statement
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    postgresql_with={"fillfactor": "50"},  # each row is updated twice at once: leave room for HOT updates
)
