"""Users and their addresses."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import people
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/users", response_model=replies.User, tags=["users"], **made(409))
async def register_user(call: Unversioned, command: people.RegisterUser) -> Response:
    """Register a user."""
    return await call.run(partial(people.register_user, command=command), command)


@router.put("/users/{user_id}/name", response_model=replies.User, tags=["users"], **done(412))
async def rename_user(call: Versioned, user_id: UUID, command: people.RenameUser) -> Response:
    """Rename a user."""
    work = partial(people.rename_user, user_id=user_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/users/{user_id}/avatar", response_model=replies.User, tags=["users"], **done(412))
async def change_avatar(call: Versioned, user_id: UUID, command: people.ChangeAvatar) -> Response:
    """Change a user's avatar, or remove it with null."""
    work = partial(people.change_avatar, user_id=user_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/users/{user_id}/last-seen", response_model=replies.Seen, tags=["users"], **done(versioned=False))
async def see_user(call: Unversioned, user_id: UUID, command: people.Heartbeat) -> Response:
    """Note that a user is there; written once a minute at most, unless forced."""
    return await call.run(partial(people.see_user, user_id=user_id, command=command), command)


@router.delete(
    "/users/{user_id}", response_model=replies.UserDeleted, tags=["users"], **done(409, 412, versioned=False)
)
async def delete_user(call: Versioned, user_id: UUID) -> Response:
    """Delete a user without orders, reviews, trips, posts and messages, and with the addresses, likes and follows."""
    return await call.run(partial(people.delete_user, user_id=user_id, expected=call.expected))


@router.post(
    "/users/{user_id}/addresses", response_model=replies.Address, tags=["users"], **made(404, 409, versioned=False)
)
async def add_address(call: Unversioned, user_id: UUID, command: people.AddAddress) -> Response:
    """Add an address to a user."""
    return await call.run(partial(people.add_address, user_id=user_id, command=command), command)


@router.delete(
    "/users/{user_id}/addresses/{address_id}",
    response_model=replies.AddressDeleted,
    tags=["users"],
    **done(versioned=False),
)
async def remove_address(call: Unversioned, user_id: UUID, address_id: UUID) -> Response:
    """Remove an address of a user."""
    return await call.run(partial(people.remove_address, user_id=user_id, address_id=address_id))


@router.put(
    "/users/{user_id}/addresses/{address_id}", response_model=replies.Address, tags=["users"], **done(versioned=False)
)
async def change_address(call: Unversioned, user_id: UUID, address_id: UUID, command: people.ChangeAddress) -> Response:
    """Change an address of a user, whole."""
    work = partial(people.change_address, user_id=user_id, address_id=address_id, command=command)
    return await call.run(work, command)
