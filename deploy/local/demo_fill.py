"""Users and orders written by SQL in one go, so that the timings are of tables with something in them.

This is the one part of the demonstration that does not pass through the command API. The rows follow from their
numbers alone, so every run fills the same.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from uuid import UUID

import psycopg

USERS = 2_000
ORDERS = 100_000
_CHUNK = 10_000

_USERS = """
    insert into users (user_id, name)
    select md5('user ' || n)::uuid, 'Customer ' || n from generate_series(0, %(users)s - 1) n
"""
# Thirty days of orders, the newest last; three in five are delivered.
_ORDERS = """
    insert into orders (order_id, user_id, status, region, created_at)
    select md5('order ' || n)::uuid,
           md5('user ' || (n::bigint * 7919 %% %(users)s))::uuid,
           (array['placed','paid','shipped','delivered','delivered','delivered','cancelled'])[1 + n %% 7],
           (array['eu-north','eu-south','us-east','us-west','ap-south'])[1 + n / 7 %% 5],
           timestamptz '2025-01-01 00:00:00+00' + n * (interval '30 days' / %(orders)s) + n %% 1000 * interval '1 us'
    from generate_series(%(low)s, %(high)s - 1) n
"""


def filled_user(number: int) -> UUID:
    """The id of a filled user, from 0 to USERS - 1."""
    return UUID(md5(f"user {number}".encode(), usedforsecurity=False).hexdigest())


def fill(conninfo: str, told: Callable[[int], None], *, users: int = USERS, orders: int = ORDERS) -> None:
    """Write users, then orders in transactions of 10,000; `told` hears how many rows each has written."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(_USERS, {"users": users})
        told(users)
        for low in range(0, orders, _CHUNK):
            high = min(orders, low + _CHUNK)
            connection.execute(_ORDERS, {"users": users, "orders": orders, "low": low, "high": high})
            told(high - low)
