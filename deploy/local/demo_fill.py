"""Users, orders, reviews and trips written by SQL in one go, so that the timings are of tables with something in them.

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
CATEGORIES = 5
PRODUCTS = 200
REVIEWS = 20_000
DRIVERS = 100
TRIPS = 20_000
ROWS = USERS + ORDERS + CATEGORIES + PRODUCTS + REVIEWS + DRIVERS + TRIPS
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

_CATEGORIES = """
    insert into categories (category_id, name)
    select md5('category ' || n)::uuid, (array['Garden','Kitchen','Light','Music','Travel'])[1 + n]
    from generate_series(0, %(categories)s - 1) n
"""
_PRODUCTS = """
    insert into products (product_id, name, price, category_id)
    select md5('product ' || n)::uuid, 'Product ' || n, 1 + n %% 500, md5('category ' || n %% %(categories)s)::uuid
    from generate_series(0, %(products)s - 1) n
"""
# A user's reviews are %(users)s numbers apart: n / users, one more from each to the next, makes their products differ.
_REVIEWS = """
    insert into reviews (review_id, product_id, user_id, rating, body, created_at)
    select md5('review ' || n)::uuid, md5('product ' || (n + n / %(users)s) %% %(products)s)::uuid,
           md5('user ' || n %% %(users)s)::uuid, 1 + n * 7 %% 5, 'Review ' || n,
           timestamptz '2025-01-01 00:00:00+00' + n * (interval '30 days' / %(reviews)s)
    from generate_series(0, %(reviews)s - 1) n
"""
_DRIVERS = """
    insert into drivers (driver_id, name)
    select md5('driver ' || n)::uuid, 'Driver ' || n from generate_series(0, %(drivers)s - 1) n
"""
_TRIPS = """
    insert into trips (trip_id, driver_id, rider_id, city, started_at, finished_at, fare)
    select md5('trip ' || n)::uuid, md5('driver ' || n * 31 %% %(drivers)s)::uuid,
           md5('user ' || n * 7919 %% %(users)s)::uuid, (array['Bath','Ely','Leiden','Porto','Uppsala'])[1 + n %% 5],
           began, began + interval '20 minutes', 3 + n %% 90
    from (select n, timestamptz '2025-01-01 00:00:00+00' + n * (interval '30 days' / %(trips)s) as began
          from generate_series(0, %(trips)s - 1) n) as starts
"""


def filled_user(number: int) -> UUID:
    """The id of a filled user, from 0 to USERS - 1."""
    return UUID(md5(f"user {number}".encode(), usedforsecurity=False).hexdigest())


def filled_category(number: int) -> UUID:
    """The id of a filled category, from 0 to CATEGORIES - 1."""
    return UUID(md5(f"category {number}".encode(), usedforsecurity=False).hexdigest())


def fill(conninfo: str, told: Callable[[int], None]) -> None:
    """Write users, then orders in transactions of 10,000, then the rest; `told` hears how many rows each has written."""
    counts = {"users": USERS, "orders": ORDERS, "products": PRODUCTS, "reviews": REVIEWS, "drivers": DRIVERS}
    counts |= {"trips": TRIPS, "categories": CATEGORIES}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(_USERS, counts)
        told(USERS)
        for low in range(0, ORDERS, _CHUNK):
            high = min(ORDERS, low + _CHUNK)
            connection.execute(_ORDERS, {**counts, "low": low, "high": high})
            told(high - low)
        for text in (_CATEGORIES, _PRODUCTS, _REVIEWS, _DRIVERS, _TRIPS):
            told(connection.execute(text, counts).rowcount)
