"""Reviews."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import reviews
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/reviews", response_model=replies.Review, tags=["reviews"], **made(409))
async def write_review(call: Unversioned, command: reviews.WriteReview) -> Response:
    """Write a review of a product; a user has one for each product at most."""
    return await call.run(partial(reviews.write_review, command=command), command)


@router.put("/reviews/{review_id}", response_model=replies.Review, tags=["reviews"], **done(412))
async def edit_review(call: Versioned, review_id: UUID, command: reviews.EditReview) -> Response:
    """Change a review's rating and text."""
    work = partial(reviews.edit_review, review_id=review_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.delete(
    "/reviews/{review_id}", response_model=replies.ReviewDeleted, tags=["reviews"], **done(412, versioned=False)
)
async def delete_review(call: Versioned, review_id: UUID) -> Response:
    """Delete a review."""
    return await call.run(partial(reviews.delete_review, review_id=review_id, expected=call.expected))
