"""Channels and messages."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import messages
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/channels", response_model=replies.Channel, tags=["messages"], **made(409, versioned=False))
async def create_channel(call: Unversioned, command: messages.CreateChannel) -> Response:
    """Create a channel."""
    return await call.run(partial(messages.create_channel, command=command), command)


@router.post("/messages", response_model=replies.Message, tags=["messages"], **made(409))
async def send_message(call: Unversioned, command: messages.SendMessage) -> Response:
    """Send a message to a channel."""
    return await call.run(partial(messages.send_message, command=command), command)


@router.put("/messages/{message_id}/body", response_model=replies.Message, tags=["messages"], **done(412))
async def edit_message(call: Versioned, message_id: UUID, command: messages.EditMessage) -> Response:
    """Change a message's text."""
    work = partial(messages.edit_message, message_id=message_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.delete(
    "/messages/{message_id}", response_model=replies.MessageDeleted, tags=["messages"], **done(412, versioned=False)
)
async def delete_message(call: Versioned, message_id: UUID) -> Response:
    """Delete a message."""
    return await call.run(partial(messages.delete_message, message_id=message_id, expected=call.expected))
