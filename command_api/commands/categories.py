"""Categories of products."""

from __future__ import annotations

from uuid import UUID

from command_api.commands.fields import Command, Id, Name, new_id
from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError, UnknownReferenceError


class CreateCategory(Command):
    """A new category; the id is made here unless given."""

    category_id: Id | None = None
    name: Name


class RenameCategory(Command):
    """Another name."""

    name: Name


async def create_category(connection: Connection, command: CreateCategory) -> Outcome:
    """Raises ConflictError when the given id is taken."""
    category_id = command.category_id or new_id()
    cursor = await connection.execute(
        "insert into categories (category_id, name) values (%s, %s) on conflict do nothing", (category_id, command.name)
    )
    if cursor.rowcount == 0:
        raise ConflictError(f"there is a category {category_id} already", hint="leave category_id out or send another")
    return Outcome(body={"category_id": category_id, "name": command.name}, created=f"/categories/{category_id}")


async def rename_category(connection: Connection, category_id: UUID, command: RenameCategory) -> Outcome:
    """Raises NotFoundError."""
    cursor = await connection.execute(
        "update categories set name = %s where category_id = %s", (command.name, category_id)
    )
    if cursor.rowcount == 0:
        raise NotFoundError("category", category_id)
    return Outcome(body={"category_id": category_id, "name": command.name})


async def require_category(connection: Connection, category_id: UUID) -> None:
    """Hold the category in place until the transaction ends; raises UnknownReferenceError."""
    cursor = await connection.execute("select from categories where category_id = %s for key share", (category_id,))
    if await cursor.fetchone() is None:
        raise UnknownReferenceError(f"there is no category {category_id}", hint="create the category first")
