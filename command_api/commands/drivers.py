"""Drivers."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from command_api.commands.fields import Command, Id, Name, new_id
from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError, UnknownReferenceError
from command_api.preconditions import IfMatch, check


class RegisterDriver(Command):
    """A new driver; the id is made here unless given."""

    driver_id: Id | None = None
    name: Name


class RenameDriver(Command):
    """Another name."""

    name: Name


async def register_driver(connection: Connection, command: RegisterDriver) -> Outcome:
    """Raises ConflictError when the given id is taken."""
    driver_id = command.driver_id or new_id()
    cursor = await connection.execute(
        "insert into drivers (driver_id, name) values (%s, %s) on conflict do nothing", (driver_id, command.name)
    )
    if cursor.rowcount == 0:
        raise ConflictError(f"there is a driver {driver_id} already", hint="leave driver_id out or send another")
    body = {"driver_id": driver_id, "name": command.name, "version": 1}
    return Outcome(body=body, version=1, created=f"/drivers/{driver_id}")


async def rename_driver(connection: Connection, driver_id: UUID, expected: IfMatch, command: RenameDriver) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    # FOR NO KEY UPDATE: trips that start meanwhile don't wait.
    cursor = await connection.execute(
        "select version from drivers where driver_id = %s for no key update", (driver_id,)
    )
    row = cast("tuple[int] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("driver", driver_id)
    check(expected, row[0], "driver")
    await connection.execute(
        "update drivers set name = %s, version = version + 1 where driver_id = %s", (command.name, driver_id)
    )
    return Outcome(body={"driver_id": driver_id, "name": command.name, "version": row[0] + 1}, version=row[0] + 1)


async def require_driver(connection: Connection, driver_id: UUID) -> None:
    """Hold the driver in place until the transaction ends; raises UnknownReferenceError."""
    cursor = await connection.execute("select from drivers where driver_id = %s for key share", (driver_id,))
    if await cursor.fetchone() is None:
        raise UnknownReferenceError(f"there is no driver {driver_id}", hint="register the driver first")
