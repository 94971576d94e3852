"""Posts and their likes. A like is there or not: to like twice, or to unlike what isn't liked, writes nothing."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from command_api.commands.fields import Command, Id, PostBody, new_id
from command_api.commands.outcome import Outcome
from command_api.commands.people import require_user
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError
from command_api.preconditions import IfMatch, check

_COLUMNS = "post_id, author_id, body, created_at, version"


class PublishPost(Command):
    """A new post; the id is made here unless given."""

    post_id: Id | None = None
    author_id: Id
    body: PostBody


class EditPost(Command):
    """Another text."""

    body: PostBody


def _post(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS.split(", "), row, strict=True))


async def publish_post(connection: Connection, command: PublishPost) -> Outcome:
    """Raises UnknownReferenceError for the author, ConflictError when the given id is taken."""
    await require_user(connection, command.author_id)
    post_id = command.post_id or new_id()
    cursor = await connection.execute(
        f"insert into posts (post_id, author_id, body) values (%s, %s, %s) on conflict do nothing returning {_COLUMNS}",
        (post_id, command.author_id, command.body),
    )
    row = await cursor.fetchone()
    if row is None:
        raise ConflictError(f"there is a post {post_id} already", hint="leave post_id out or send another")
    return Outcome(body=_post(row), version=1, created=f"/posts/{post_id}")


async def edit_post(connection: Connection, post_id: UUID, expected: IfMatch, command: EditPost) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    # FOR NO KEY UPDATE: likes that come meanwhile don't wait.
    cursor = await connection.execute("select version from posts where post_id = %s for no key update", (post_id,))
    _check(post_id, expected, await cursor.fetchone())
    cursor = await connection.execute(
        f"update posts set body = %s, version = version + 1 where post_id = %s returning {_COLUMNS}",
        (command.body, post_id),
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked"
    post = _post(row)
    return Outcome(body=post, version=post["version"])


async def delete_post(connection: Connection, post_id: UUID, expected: IfMatch) -> Outcome:
    """Deletes the likes too. Raises NotFoundError, VersionMismatchError."""
    cursor = await connection.execute("select version from posts where post_id = %s for update", (post_id,))
    _check(post_id, expected, await cursor.fetchone())
    await connection.execute("delete from posts where post_id = %s", (post_id,))
    return Outcome(body={"post_id": post_id, "deleted": True})


def _check(post_id: UUID, expected: IfMatch, row: tuple[object, ...] | None) -> None:
    if row is None:
        raise NotFoundError("post", post_id)
    check(expected, cast("int", row[0]), "post")


async def like(connection: Connection, post_id: UUID, user_id: UUID) -> Outcome:
    """Raises NotFoundError for the post or the user."""
    if not await _liked(connection, post_id, user_id):
        await _find(connection, post_id, user_id, lock=" for key share")
        await connection.execute(
            "insert into likes (post_id, user_id) values (%s, %s) on conflict do nothing", (post_id, user_id)
        )
    return Outcome(body={"post_id": post_id, "user_id": user_id, "liked": True})


async def unlike(connection: Connection, post_id: UUID, user_id: UUID) -> Outcome:
    """Raises NotFoundError for the post or the user."""
    if not await _liked(connection, post_id, user_id):
        await _find(connection, post_id, user_id)
    await connection.execute("delete from likes where post_id = %s and user_id = %s", (post_id, user_id))
    return Outcome(body={"post_id": post_id, "user_id": user_id, "liked": False})


async def _liked(connection: Connection, post_id: UUID, user_id: UUID) -> bool:
    # Also a row lock is a write: a like that is there already is seen without one.
    query = "select from likes where post_id = %s and user_id = %s"
    return await (await connection.execute(query, (post_id, user_id))).fetchone() is not None


async def _find(connection: Connection, post_id: UUID, user_id: UUID, lock: str = "") -> None:
    for what, query, key in (
        ("post", "select from posts where post_id = %s", post_id),
        ("user", "select from users where user_id = %s", user_id),
    ):
        cursor = await connection.execute(query + lock, (key,))
        if await cursor.fetchone() is None:
            raise NotFoundError(what, key)
