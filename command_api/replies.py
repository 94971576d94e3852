"""What commands reply with, as OpenAPI describes it; the replies themselves are made from an `Outcome`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from command_api.commands.orders import Status
from command_api.process.consistency import PATTERN


class Reply(BaseModel):
    """Every reply to a command."""

    consistency_token: str = Field(
        description="What a read that carries it is to show at least: this command's effect, and that of the token that "
        "was sent along. Of read models that are made of other tables it asks nothing more.",
        examples=["16/B374D800;orders@16/B374D848;order_items@16/B374D848"],
        pattern=PATTERN,
    )
    covered: bool | None = Field(
        default=None,
        description="With Prefer: wait only: true when every read model that the write concerns shows it, false when the "
        "time was over first, null when the read API could not tell.",
    )


class User(Reply):
    """A user's row."""

    user_id: UUID
    name: str
    avatar_url: str | None
    version: int


class Seen(Reply):
    """When the user was last seen, to the minute unless it was forced."""

    user_id: UUID
    last_seen_at: datetime


class UserDeleted(Reply):
    """The user is gone, with the addresses."""

    user_id: UUID
    deleted: bool


class Address(Reply):
    """An address."""

    address_id: UUID
    user_id: UUID
    label: str
    line: str
    city: str
    postcode: str


class AddressDeleted(Reply):
    """The address is gone."""

    address_id: UUID
    user_id: UUID
    deleted: bool


class Product(Reply):
    """A product."""

    product_id: UUID
    name: str
    description: str
    price: str = Field(examples=["12.50"])
    category_id: UUID | None
    version: int


class Item(BaseModel):
    """A line of an order."""

    line_no: int
    product_id: UUID
    quantity: int
    unit_price: str = Field(examples=["12.50"])


class OrderPlaced(Reply):
    """An order with its items."""

    order_id: UUID
    user_id: UUID
    status: Status
    region: str
    created_at: datetime
    version: int
    items: list[Item]


class OrderMoved(Reply):
    """The order as it is now, without its items, which are as they were."""

    order_id: UUID
    user_id: UUID
    status: Status
    region: str
    created_at: datetime
    version: int


class OrderDeleted(Reply):
    """The order is gone, with its items."""

    order_id: UUID
    deleted: bool


class Category(Reply):
    """A category of products."""

    category_id: UUID
    name: str


class Review(Reply):
    """A review."""

    review_id: UUID
    product_id: UUID
    user_id: UUID
    rating: int
    body: str
    created_at: datetime
    version: int


class ReviewDeleted(Reply):
    """The review is gone."""

    review_id: UUID
    deleted: bool


class Driver(Reply):
    """A driver."""

    driver_id: UUID
    name: str
    version: int


class Trip(Reply):
    """A trip; its end and fare are null until it is finished."""

    trip_id: UUID
    driver_id: UUID
    rider_id: UUID
    city: str
    started_at: datetime
    finished_at: datetime | None
    fare: str | None = Field(examples=["12.50"])
    version: int


class Post(Reply):
    """A post."""

    post_id: UUID
    author_id: UUID
    body: str
    created_at: datetime
    version: int


class PostDeleted(Reply):
    """The post is gone, with its likes."""

    post_id: UUID
    deleted: bool


class Like(Reply):
    """Whether the user likes the post now."""

    post_id: UUID
    user_id: UUID
    liked: bool


class Follow(Reply):
    """Whether the first user follows the second now."""

    follower_id: UUID
    followee_id: UUID
    following: bool


class FollowersRemoved(Reply):
    """Nobody follows the user; removed: how many did."""

    user_id: UUID
    removed: int


class Channel(Reply):
    """A channel."""

    channel_id: UUID
    name: str


class Message(Reply):
    """A message; it was sent at the time of its id."""

    message_id: UUID
    sent_at: datetime
    channel_id: UUID
    author_id: UUID
    body: str
    version: int


class MessageDeleted(Reply):
    """The message is gone."""

    message_id: UUID
    deleted: bool


_TOKEN = {
    "Consistency-Token": {"description": "The body's consistency_token.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "The wait that was preferred, or less.", "schema": {"type": "string"}},
}
_ETAG = {"ETag": {"description": "The version, for If-Match.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Path of what was made.", "schema": {"type": "string"}}}


def documented(status: int, *, versioned: bool) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for a success: its headers."""
    headers = {**_TOKEN, **(_ETAG if versioned else {}), **(_LOCATION if status == 201 else {})}
    return {status: {"headers": headers}}
