"""Users and their addresses.

A user's version counts changes of the user's own row; adding or removing an address leaves it, so that it does not
spread to every copy of the user's name.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from command_api.commands.fields import Command, HttpUrl, Id, Label, Line, Name, new_id
from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError, UnknownReferenceError
from command_api.preconditions import IfMatch, check

# The first kind of row that keeps a user from being deleted, trips before all because no command removes them.
_HOLDS = """
    select case when exists (select from trips where rider_id = %(user_id)s) then 'trips'
                when exists (select from orders where user_id = %(user_id)s) then 'orders'
                when exists (select from reviews where user_id = %(user_id)s) then 'reviews'
                when exists (select from posts where author_id = %(user_id)s) then 'posts'
                when exists (select from messages where author_id = %(user_id)s) then 'messages' end
"""


class RegisterUser(Command):
    """A new user; the id is made here unless given."""

    user_id: Id | None = None
    name: Name
    avatar_url: HttpUrl | None = None


class RenameUser(Command):
    """Another name."""

    name: Name


class ChangeAvatar(Command):
    """Another picture, or none."""

    avatar_url: HttpUrl | None


class Heartbeat(Command):
    """The user is there. force: also when the last one is hardly a minute old."""

    force: bool = False


class AddAddress(Command):
    """One more address; the id is made here unless given."""

    address_id: Id | None = None
    label: Label
    line: Line
    city: Name
    postcode: Label


class ChangeAddress(Command):
    """The address as it shall be, whole."""

    label: Label
    line: Line
    city: Name
    postcode: Label


def _user(row: tuple[Any, ...]) -> dict[str, Any]:
    user_id, name, avatar_url, version = row
    return {"user_id": user_id, "name": name, "avatar_url": avatar_url, "version": version}


async def register_user(connection: Connection, command: RegisterUser) -> Outcome:
    """Raises ConflictError when the given id is taken."""
    user_id = command.user_id or new_id()
    cursor = await connection.execute(
        """
        insert into users (user_id, name, avatar_url) values (%s, %s, %s) on conflict do nothing
        returning user_id, name, avatar_url, version
        """,
        (user_id, command.name, command.avatar_url),
    )
    row = await cursor.fetchone()
    if row is None:
        raise ConflictError(f"there is a user {user_id} already", hint="leave user_id out or send another")
    return Outcome(body=_user(row), version=1, created=f"/users/{user_id}")


async def _lock(connection: Connection, user_id: UUID, expected: IfMatch) -> None:
    # FOR NO KEY UPDATE: renames of one user take turns, orders placed meanwhile don't wait for them.
    cursor = await connection.execute("select version from users where user_id = %s for no key update", (user_id,))
    row = cast("tuple[int] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("user", user_id)
    check(expected, row[0], "user")


async def rename_user(connection: Connection, user_id: UUID, expected: IfMatch, command: RenameUser) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, user_id, expected)
    cursor = await connection.execute(
        """
        update users set name = %s, version = version + 1 where user_id = %s
        returning user_id, name, avatar_url, version
        """,
        (command.name, user_id),
    )
    return _changed(await cursor.fetchone())


async def change_avatar(connection: Connection, user_id: UUID, expected: IfMatch, command: ChangeAvatar) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, user_id, expected)
    cursor = await connection.execute(
        """
        update users set avatar_url = %s, version = version + 1 where user_id = %s
        returning user_id, name, avatar_url, version
        """,
        (command.avatar_url, user_id),
    )
    return _changed(await cursor.fetchone())


def _changed(row: tuple[Any, ...] | None) -> Outcome:
    assert row is not None, "the row is locked"
    user = _user(row)
    return Outcome(body=user, version=user["version"])


async def see_user(connection: Connection, user_id: UUID, command: Heartbeat) -> Outcome:
    """Writes at most once a minute and user, unless forced; the version stays. Raises NotFoundError."""
    cursor = await connection.execute(
        """
        update users set last_seen_at = now()
        where user_id = %s and (%s or last_seen_at is null or last_seen_at < now() - interval '1 minute')
        returning last_seen_at
        """,
        (user_id, command.force),
    )
    row = await cursor.fetchone()
    if row is None:
        cursor = await connection.execute("select last_seen_at from users where user_id = %s", (user_id,))
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError("user", user_id)
    return Outcome(body={"user_id": user_id, "last_seen_at": row[0]})


async def delete_user(connection: Connection, user_id: UUID, expected: IfMatch) -> Outcome:
    """Deletes the addresses, likes and follows too.

    Raises NotFoundError, VersionMismatchError, ConflictError while there are orders, reviews, trips, posts or messages.
    """
    # FOR UPDATE: an order of this user that is being placed holds a key share lock, so the query below can't miss it.
    cursor = await connection.execute("select version from users where user_id = %s for update", (user_id,))
    row = cast("tuple[int] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("user", user_id)
    check(expected, row[0], "user")
    cursor = await connection.execute(_HOLDS, {"user_id": user_id})
    held = cast("tuple[str | None] | None", await cursor.fetchone())
    if held is not None and held[0] is not None:
        hint = "a user who has made trips stays" if held[0] == "trips" else f"delete the user's {held[0]} first"
        raise ConflictError(f"the user {user_id} has {held[0]}", hint=hint)
    await connection.execute("delete from users where user_id = %s", (user_id,))
    return Outcome(body={"user_id": user_id, "deleted": True})


async def add_address(connection: Connection, user_id: UUID, command: AddAddress) -> Outcome:
    """Raises NotFoundError for the user, ConflictError when the given id is taken."""
    cursor = await connection.execute("select from users where user_id = %s for key share", (user_id,))
    if await cursor.fetchone() is None:
        raise NotFoundError("user", user_id)
    address_id = command.address_id or new_id()
    cursor = await connection.execute(
        """
        insert into addresses (address_id, user_id, label, line, city, postcode) values (%s, %s, %s, %s, %s, %s)
        on conflict do nothing
        """,
        (address_id, user_id, command.label, command.line, command.city, command.postcode),
    )
    if cursor.rowcount == 0:
        raise ConflictError(f"there is an address {address_id} already", hint="leave address_id out or send another")
    body = {"address_id": address_id, "user_id": user_id, **command.model_dump(exclude={"address_id"})}
    return Outcome(body=body, created=f"/users/{user_id}/addresses/{address_id}")


async def change_address(connection: Connection, user_id: UUID, address_id: UUID, command: ChangeAddress) -> Outcome:
    """Raises NotFoundError when the user has no such address."""
    cursor = await connection.execute(
        """
        update addresses set label = %s, line = %s, city = %s, postcode = %s where address_id = %s and user_id = %s
        """,
        (command.label, command.line, command.city, command.postcode, address_id, user_id),
    )
    if cursor.rowcount == 0:
        raise NotFoundError("address", address_id)
    return Outcome(body={"address_id": address_id, "user_id": user_id, **command.model_dump()})


async def remove_address(connection: Connection, user_id: UUID, address_id: UUID) -> Outcome:
    """Raises NotFoundError when the user has no such address."""
    cursor = await connection.execute(
        "delete from addresses where address_id = %s and user_id = %s", (address_id, user_id)
    )
    if cursor.rowcount == 0:
        raise NotFoundError("address", address_id)
    return Outcome(body={"address_id": address_id, "user_id": user_id, "deleted": True})


async def require_user(connection: Connection, user_id: UUID) -> None:
    """Hold the user in place until the transaction ends; raises UnknownReferenceError."""
    cursor = await connection.execute("select from users where user_id = %s for key share", (user_id,))
    if await cursor.fetchone() is None:
        raise UnknownReferenceError(f"there is no user {user_id}", hint="register the user first")
