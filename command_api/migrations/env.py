"""What alembic runs: the revisions, on the connection that `apply.migrate` hands over. No other way in is offered."""

from alembic import context

from command_api.tables import METADATA
from command_api.tables.idempotency import PRIVATE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=[METADATA, PRIVATE],
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
