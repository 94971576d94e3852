"""Posts and likes."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import posts
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/posts", response_model=replies.Post, tags=["posts"], **made(409))
async def publish_post(call: Unversioned, command: posts.PublishPost) -> Response:
    """Publish a post."""
    return await call.run(partial(posts.publish_post, command=command), command)


@router.put("/posts/{post_id}/body", response_model=replies.Post, tags=["posts"], **done(412))
async def edit_post(call: Versioned, post_id: UUID, command: posts.EditPost) -> Response:
    """Change a post's text."""
    work = partial(posts.edit_post, post_id=post_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.delete("/posts/{post_id}", response_model=replies.PostDeleted, tags=["posts"], **done(412, versioned=False))
async def delete_post(call: Versioned, post_id: UUID) -> Response:
    """Delete a post and its likes."""
    return await call.run(partial(posts.delete_post, post_id=post_id, expected=call.expected))


@router.put("/posts/{post_id}/likes/{user_id}", response_model=replies.Like, tags=["posts"], **done(versioned=False))
async def like(call: Unversioned, post_id: UUID, user_id: UUID) -> Response:
    """Like a post; when it is liked already, nothing is written."""
    return await call.run(partial(posts.like, post_id=post_id, user_id=user_id))


@router.delete("/posts/{post_id}/likes/{user_id}", response_model=replies.Like, tags=["posts"], **done(versioned=False))
async def unlike(call: Unversioned, post_id: UUID, user_id: UUID) -> Response:
    """Take a like back; when there is none, nothing is written."""
    return await call.run(partial(posts.unlike, post_id=post_id, user_id=user_id))
