"""Channels and messages. A message's time is its id's, a uuid v7, which says in which month it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import psycopg

from command_api.commands.fields import Command, Id, Name, PostBody, new_id
from command_api.commands.outcome import Outcome
from command_api.commands.people import require_user
from command_api.database import Connection
from command_api.errors import (
    ConflictError,
    FieldError,
    InvalidCommandError,
    NotFoundError,
    UnavailableError,
    UnknownReferenceError,
)
from command_api.preconditions import IfMatch, check

_COLUMNS = "message_id, sent_at, channel_id, author_id, body, version"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = timedelta(days=1), timedelta(minutes=1)
"""How far before and after the server's clock a given message_id's time may be."""


class CreateChannel(Command):
    """A new channel; the id is made here unless given."""

    channel_id: Id | None = None
    name: Name


class SendMessage(Command):
    """A new message; the id, a uuid v7 of about now, is made here unless given."""

    message_id: Id | None = None
    channel_id: Id
    author_id: Id
    body: PostBody


class EditMessage(Command):
    """Another text."""

    body: PostBody


def time_of(message_id: UUID) -> datetime | None:
    """The time of a uuid v7, to the millisecond; None for another uuid, or a time that no calendar has."""
    if message_id.version != 7:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=message_id.int >> 80)
    except OverflowError:
        return None


def _message(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS.split(", "), row, strict=True))


async def create_channel(connection: Connection, command: CreateChannel) -> Outcome:
    """Raises ConflictError when the given id is taken."""
    channel_id = command.channel_id or new_id()
    cursor = await connection.execute(
        "insert into channels (channel_id, name) values (%s, %s) on conflict do nothing", (channel_id, command.name)
    )
    if cursor.rowcount == 0:
        raise ConflictError(f"there is a channel {channel_id} already", hint="leave channel_id out or send another")
    return Outcome(body={"channel_id": channel_id, "name": command.name}, created=f"/channels/{channel_id}")


async def send_message(connection: Connection, command: SendMessage) -> Outcome:
    """Raises InvalidCommandError for an id of another time, UnknownReferenceError for the author or the channel,
    ConflictError when the given id is taken, UnavailableError while the month has no partition.
    """
    message_id = command.message_id or new_id()
    sent_at = time_of(message_id)
    now = datetime.now(UTC)
    if sent_at is None or not now - EARLIEST < sent_at < now + LATEST:
        raise InvalidCommandError(
            f"the message_id {message_id} is no uuid v7 of the last day",
            hint="leave message_id out, or make it when the message is written",
            fields=[FieldError(field="body.message_id", message="No uuid v7 of the last day", remedy="leave it out")],
        )
    await require_user(connection, command.author_id)
    cursor = await connection.execute("select from channels where channel_id = %s for key share", (command.channel_id,))
    if await cursor.fetchone() is None:
        raise UnknownReferenceError(f"there is no channel {command.channel_id}", hint="create the channel first")
    try:
        cursor = await connection.execute(
            f"""
            insert into messages (message_id, sent_at, channel_id, author_id, body) values (%s, %s, %s, %s, %s)
            on conflict do nothing returning {_COLUMNS}
            """,
            (message_id, sent_at, command.channel_id, command.author_id, command.body),
        )
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name is not None:
            raise
        raise UnavailableError(
            f"messages of {sent_at:%Y-%m} can't be stored yet", hint="the operator runs `command-api months`"
        ) from error
    row = await cursor.fetchone()
    if row is None:
        raise ConflictError(f"there is a message {message_id} already", hint="leave message_id out or send another")
    return Outcome(body=_message(row), version=1, created=f"/messages/{message_id}")


async def edit_message(connection: Connection, message_id: UUID, expected: IfMatch, command: EditMessage) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, message_id, expected, "no key update")
    cursor = await connection.execute(
        f"update messages set body = %s, version = version + 1 where message_id = %s returning {_COLUMNS}",
        (command.body, message_id),
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked"
    message = _message(row)
    return Outcome(body=message, version=message["version"])


async def delete_message(connection: Connection, message_id: UUID, expected: IfMatch) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, message_id, expected, "update")
    await connection.execute("delete from messages where message_id = %s", (message_id,))
    return Outcome(body={"message_id": message_id, "deleted": True})


async def _lock(connection: Connection, message_id: UUID, expected: IfMatch, strength: str) -> None:
    cursor = await connection.execute(
        f"select version from messages where message_id = %s for {strength}", (message_id,)
    )
    row = cast("tuple[int] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("message", message_id)
    check(expected, row[0], "message")
