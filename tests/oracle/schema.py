"""A source schema made to collide: few keys, few values, every kind of join.

Its tables say nothing about a domain; `DOMAINS` gives each column a handful of values, so that random changes soon
meet in the same keys, joins and groups. `orders` and its neighbours are the reference application's own tables.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from command_api.tables import (
    addresses,
    categories,
    channels,
    drivers,
    follows,
    likes,
    messages,
    order_items,
    orders,
    posts,
    products,
    reviews,
    trips,
    users,
)
from tests.oracle.feed_views import DOMAINS as FEED_DOMAINS
from tests.oracle.values import (
    DATE_INFINITY,
    NULL,
    TIMESTAMP_MINUS_INFINITY,
    Value,
    of,
    timestamptz,
)

METADATA = MetaData()

x = Table(
    "x",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("region", Text),
    Column("name", Text, nullable=False),
    Column("parent_id", Integer),
)
"""Looked up by d, joined to itself; its region is nullable and moves keys."""

y = Table(
    "y",
    METADATA,
    Column("id1", Integer, primary_key=True),
    Column("id2", Text, primary_key=True),
    Column("label", String(20), nullable=False),
    Column("code", SmallInteger, nullable=False),
    UniqueConstraint("code"),
)
"""A composite primary key, and a unique column beside it."""

d = Table(
    "d",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("x_id", Integer),
    Column("other_x_id", Integer),
    Column("y1", Integer),
    Column("y2", Text),
    Column("value", Integer, nullable=False),
    Column("big", BigInteger),
    Column("amount", Numeric(12, 2)),
    Column("note", Text),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("seen", DateTime),
    Column("day", Date),
    Column("flag", Boolean),
)
"""The table in the middle: a column of most kinds, references without constraints."""

m = Table(
    "m",
    METADATA,
    Column("d_id", Integer, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("weight", Integer, nullable=False),
)
"""A link table: many d to many tags."""

t = Table(
    "t",
    METADATA,
    Column("tag", Text, primary_key=True),
    Column("x_id", Integer),
    Column("title", Text, nullable=False),
)
"""What the link table's tags are."""

u = Table(
    "u",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("d_id", Integer),
    Column("payload", LargeBinary),
    Column("kind", Text, nullable=False),
)
"""A table keyed by uuid."""

c = Table(
    "c",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("p_id", Integer, ForeignKey("p.id"), nullable=False),
    Column("value", Integer, nullable=False),
)
p = Table(
    "p",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
)
"""c and p: a reference with its constraint, which the database keeps at every commit."""

APPLICATION: tuple[Table, ...] = (
    users,
    addresses,
    categories,
    products,
    orders,
    order_items,
    reviews,
    posts,
    likes,
    drivers,
    trips,
    channels,
    messages,
    follows,
)
"""The reference application's tables that its read models use, and what they refer to."""

TABLES: tuple[Table, ...] = (d, x, y, m, t, u, c, p, *APPLICATION)

UUIDS = tuple(Value(text, text) for text in (f"00000000-0000-7000-8000-00000000000{i}" for i in range(4)))


def some(*values: object) -> tuple[Value, ...]:
    """A domain of Python values."""
    return tuple(of(value) for value in values)


IDS = some(0, 1, 2)
MESSAGE_IDS = tuple(
    Value(text, text)
    for text in (
        "018df74f-83ff-7000-8000-000000000001",  # 2024-02-29 23:59:59.999, the month before
        "018df74f-8400-7000-8000-000000000001",
        "018e2acf-1c00-7000-8000-000000000001",  # 2024-03-11 00:00, the bucket after
    )
)
TIMES = (
    *some(
        dt.datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(2024, 3, 1, tzinfo=dt.UTC),
        dt.datetime(1969, 12, 31, 23, 0, 0, 1, tzinfo=dt.UTC),
    ),
    timestamptz("0044-03-15 12:00:00+00 BC", "-0043-03-15T12:00:00.000000Z"),
)
DOMAINS: dict[str, dict[str, Sequence[Value]]] = {
    "d": {
        "id": IDS,
        "x_id": some(0, 1, 2, None),
        "other_x_id": some(0, 1, None),
        "y1": some(0, 1, None),
        "y2": some("a", "b", None),
        "value": some(-1, 0, 1, 7),
        "big": some(0, -5_000_000_000, 9_007_199_254_740_993, None),
        "amount": some(Decimal("0.00"), Decimal("-1.50"), Decimal("9.99"), None),
        "note": some("", "Ab", "ab", "é%_", None),
        "at": TIMES,
        "seen": (
            *some(dt.datetime(2024, 12, 30, 1, 2, 3), dt.datetime(2023, 1, 1)),
            Value("-infinity", TIMESTAMP_MINUS_INFINITY),
            NULL,
        ),
        "day": (*some(dt.date(2024, 2, 29), dt.date(1969, 12, 31)), Value("infinity", DATE_INFINITY), NULL),
        "flag": some(True, False, None),
    },
    "x": {"id": IDS, "region": some("eu", "us", None), "name": some("n", "o"), "parent_id": some(0, 1, None)},
    "y": {"id1": some(0, 1), "id2": some("a", "b"), "label": some("l", "k"), "code": some(0, 1, 2)},
    "m": {"d_id": IDS, "tag": some("a", "b"), "weight": some(0, 1)},
    "t": {"tag": some("a", "b"), "x_id": some(0, 1, None), "title": some("T", "S")},
    "u": {"id": UUIDS[:3], "d_id": some(0, 1, None), "payload": some(b"", b"\x00\xff", None), "kind": some("k", "j")},
    "c": {"id": IDS, "p_id": some(0, 1), "value": some(0, 1)},
    "p": {"id": some(0, 1), "name": some("n", "o"), "kind": some("k", "j")},
    "users": {
        "user_id": UUIDS[:2],
        "name": some("Ada", "Bob"),
        "avatar_url": some("a", None),
        "last_seen_at": (NULL,),
        "version": some(1, 2),
    },
    "orders": {
        "order_id": UUIDS[:3],
        "user_id": UUIDS[:2],
        "status": some("placed", "paid", "cancelled"),
        "region": some("eu", "us"),
        "created_at": TIMES[:3],
        "version": some(1, 2),
    },
    "addresses": {
        "address_id": UUIDS[:3],
        "user_id": UUIDS[:2],
        "label": some("home", "é%_"),
        "line": some("1 Way", ""),
        "city": some("Ely"),
        "postcode": some("CB7"),
    },
    "categories": {"category_id": UUIDS[:2], "name": some("Pens", "Inks")},
    "order_items": {
        "order_id": UUIDS[:3],
        "line_no": some(1, 2),
        "product_id": UUIDS[:2],
        "quantity": some(1, 3),
        "unit_price": some(Decimal("0.00"), Decimal("9.99")),
    },
    "products": {
        "product_id": UUIDS[:2],
        "name": some("Pen", "Ink"),
        "description": some("", "blue"),
        "price": some(Decimal("0.00"), Decimal("12.50")),
        "category_id": (*UUIDS[:2], NULL),
        "version": some(1, 2),
    },
    "reviews": {
        "review_id": UUIDS[:3],
        "product_id": UUIDS[:2],
        "user_id": UUIDS[:2],
        "rating": some(1, 5),
        "body": some("", "good", "é%_"),
        "created_at": TIMES[:2],
        "version": some(1, 2),
    },
    "posts": {
        "post_id": UUIDS[:2],
        "author_id": UUIDS[:2],
        "body": some("hello", ""),
        "created_at": TIMES[:2],
        "version": some(1, 2),
    },
    "likes": {"post_id": UUIDS[:2], "user_id": UUIDS[:2], "created_at": TIMES[:2]},
    "follows": {"follower_id": UUIDS[:2], "followee_id": UUIDS[:2], "since": TIMES[:2]},
    "channels": {"channel_id": UUIDS[:2], "name": some("general", "é%_")},
    "messages": {
        "message_id": MESSAGE_IDS,
        "sent_at": some(
            dt.datetime(2024, 2, 29, 23, 59, 59, 999000, tzinfo=dt.UTC),
            dt.datetime(2024, 3, 1, tzinfo=dt.UTC),
            dt.datetime(2024, 3, 11, tzinfo=dt.UTC),
        ),
        "channel_id": UUIDS[:2],
        "author_id": UUIDS[:2],
        "body": some("hello", ""),
        "version": some(1, 2),
    },
    "drivers": {"driver_id": UUIDS[:2], "name": some("Dora", "Eve"), "version": some(1, 2)},
    "trips": {
        "trip_id": UUIDS[:3],
        "driver_id": UUIDS[:2],
        "rider_id": UUIDS[:2],
        "city": some("Ely", "Bath"),
        "started_at": TIMES[:3],
        "finished_at": (TIMES[1], NULL),
        "fare": some(Decimal("0.00"), Decimal("12.50"), None),
        "version": some(1, 2),
    },
    **FEED_DOMAINS,
}
LINKS: dict[str, tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]] = {
    "d": ((("x_id",), "x", ("id",)), (("y1", "y2"), "y", ("id1", "id2")), (("value",), "y", ("code",))),
    "m": ((("d_id",), "d", ("id",)), (("tag",), "t", ("tag",))),
    "t": ((("x_id",), "x", ("id",)),),
    "u": ((("d_id",), "d", ("id",)),),
    "x": ((("parent_id",), "x", ("id",)),),
}
"""Table to (columns, the table that they refer to without a constraint, its columns)."""
