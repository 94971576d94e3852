"""Reviews of products: a user writes one for a product, and may edit or delete it."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from command_api.commands.catalogue import require_product
from command_api.commands.fields import Command, Description, Id, Rating, new_id
from command_api.commands.outcome import Outcome
from command_api.commands.people import require_user
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError
from command_api.preconditions import IfMatch, check

_COLUMNS = "review_id, product_id, user_id, rating, body, created_at, version"


class WriteReview(Command):
    """A user's review of a product; the id is made here unless given."""

    review_id: Id | None = None
    product_id: Id
    user_id: Id
    rating: Rating
    body: Description = ""


class EditReview(Command):
    """Another rating and text."""

    rating: Rating
    body: Description


def _review(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS.split(", "), row, strict=True))


async def write_review(connection: Connection, command: WriteReview) -> Outcome:
    """Raises UnknownReferenceError for the user or the product, ConflictError for a second review or a taken id."""
    await require_user(connection, command.user_id)
    await require_product(connection, command.product_id)
    review_id = command.review_id or new_id()
    cursor = await connection.execute(
        f"""
        insert into reviews (review_id, product_id, user_id, rating, body) values (%s, %s, %s, %s, %s)
        on conflict do nothing returning {_COLUMNS}
        """,
        (review_id, command.product_id, command.user_id, command.rating, command.body),
    )
    row = await cursor.fetchone()
    if row is None:
        raise await _taken(connection, review_id, command)
    return Outcome(body=_review(row), version=1, created=f"/reviews/{review_id}")


async def _taken(connection: Connection, review_id: UUID, command: WriteReview) -> ConflictError:
    # A statement of its own sees what the insert has met, also when that was committed after this transaction began.
    cursor = await connection.execute(
        "select review_id from reviews where product_id = %s and user_id = %s", (command.product_id, command.user_id)
    )
    first = cast("tuple[UUID] | None", await cursor.fetchone())
    if first is None:
        return ConflictError(f"there is a review {review_id} already", hint="leave review_id out or send another")
    return ConflictError(
        f"the user {command.user_id} has reviewed the product {command.product_id} already",
        hint=f"edit or delete the review {first[0]}",
    )


async def _lock(connection: Connection, review_id: UUID, expected: IfMatch) -> None:
    cursor = await connection.execute("select version from reviews where review_id = %s for update", (review_id,))
    row = cast("tuple[int] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("review", review_id)
    check(expected, row[0], "review")


async def edit_review(connection: Connection, review_id: UUID, expected: IfMatch, command: EditReview) -> Outcome:
    """Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, review_id, expected)
    cursor = await connection.execute(
        f"""
        update reviews set rating = %s, body = %s, version = version + 1 where review_id = %s returning {_COLUMNS}
        """,
        (command.rating, command.body, review_id),
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked"
    review = _review(row)
    return Outcome(body=review, version=review["version"])


async def delete_review(connection: Connection, review_id: UUID, expected: IfMatch) -> Outcome:
    """The user may write another one afterwards. Raises NotFoundError, VersionMismatchError."""
    await _lock(connection, review_id, expected)
    await connection.execute("delete from reviews where review_id = %s", (review_id,))
    return Outcome(body={"review_id": review_id, "deleted": True})
