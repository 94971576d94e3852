"""Follows."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import follows
from command_api.routes.call import Unversioned, done

router = APIRouter()


@router.put(
    "/users/{user_id}/following/{followee_id}",
    response_model=replies.Follow,
    tags=["follows"],
    **done(409, versioned=False),
)
async def follow(call: Unversioned, user_id: UUID, followee_id: UUID) -> Response:
    """Follow a user; who follows already stays, and nothing is written."""
    return await call.run(partial(follows.follow, follower_id=user_id, followee_id=followee_id))


@router.delete(
    "/users/{user_id}/following/{followee_id}",
    response_model=replies.Follow,
    tags=["follows"],
    **done(versioned=False),
)
async def unfollow(call: Unversioned, user_id: UUID, followee_id: UUID) -> Response:
    """Follow a user no longer; who doesn't writes nothing."""
    return await call.run(partial(follows.unfollow, follower_id=user_id, followee_id=followee_id))


@router.delete(
    "/users/{user_id}/followers/{follower_id}",
    response_model=replies.Follow,
    tags=["follows"],
    **done(versioned=False),
)
async def remove_follower(call: Unversioned, user_id: UUID, follower_id: UUID) -> Response:
    """Remove one follower of a user."""
    return await call.run(partial(follows.unfollow, follower_id=follower_id, followee_id=user_id))


@router.delete(
    "/users/{user_id}/followers",
    response_model=replies.FollowersRemoved,
    tags=["follows"],
    **done(versioned=False),
)
async def remove_followers(call: Unversioned, user_id: UUID) -> Response:
    """Remove all followers of a user, in one transaction."""
    return await call.run(partial(follows.remove_followers, user_id=user_id))
