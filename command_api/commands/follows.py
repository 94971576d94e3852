"""Who follows whom. A user follows another or doesn't: to follow twice, or to unfollow whom one doesn't follow, writes nothing."""

from __future__ import annotations

from uuid import UUID

from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError


async def follow(connection: Connection, follower_id: UUID, followee_id: UUID) -> Outcome:
    """Raises NotFoundError for either user, ConflictError for a user and themself."""
    if follower_id == followee_id:
        raise ConflictError(f"the user {follower_id} can't follow themself", hint="name another user to follow")
    if not await _follows(connection, follower_id, followee_id):
        await _find(connection, follower_id, followee_id, lock=" for key share")
        await connection.execute(
            "insert into follows (follower_id, followee_id) values (%s, %s) on conflict do nothing",
            (follower_id, followee_id),
        )
    return _outcome(follower_id, followee_id, following=True)


async def unfollow(connection: Connection, follower_id: UUID, followee_id: UUID) -> Outcome:
    """Raises NotFoundError for either user."""
    if not await _follows(connection, follower_id, followee_id):
        await _find(connection, follower_id, followee_id)
    await connection.execute(
        "delete from follows where follower_id = %s and followee_id = %s", (follower_id, followee_id)
    )
    return _outcome(follower_id, followee_id, following=False)


async def remove_followers(connection: Connection, user_id: UUID) -> Outcome:
    """Nobody follows the user any more, from here on. Raises NotFoundError."""
    await _find(connection, user_id)
    cursor = await connection.execute("delete from follows where followee_id = %s", (user_id,))
    return Outcome(body={"user_id": user_id, "removed": cursor.rowcount})


def _outcome(follower_id: UUID, followee_id: UUID, *, following: bool) -> Outcome:
    return Outcome(body={"follower_id": follower_id, "followee_id": followee_id, "following": following})


async def _follows(connection: Connection, follower_id: UUID, followee_id: UUID) -> bool:
    # Also a row lock is a write: an edge that is there already is seen without one.
    query = "select from follows where follower_id = %s and followee_id = %s"
    return await (await connection.execute(query, (follower_id, followee_id))).fetchone() is not None


async def _find(connection: Connection, *users: UUID, lock: str = "") -> None:
    for user_id in sorted(users):  # one order for all: two who follow each other at once never wait in a circle
        cursor = await connection.execute(f"select from users where user_id = %s{lock}".encode(), (user_id,))
        if await cursor.fetchone() is None:
            raise NotFoundError("user", user_id)
