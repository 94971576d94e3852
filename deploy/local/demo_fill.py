"""Users, orders, reviews, trips, posts, follows and messages written by SQL in one go: the timings are of tables with something in them.

This is the one part of the demonstration that does not pass through the command API. The rows follow from their
numbers alone, so every run fills the same; messages are of the last whole month, whose partition is there, and nine in
ten users have been seen just now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import md5
from uuid import UUID

import psycopg

USERS = 2_000
ORDERS = 50_000
CATEGORIES = 5
PRODUCTS = 200
REVIEWS = 20_000
DRIVERS = 100
TRIPS = 20_000
POSTS = 500
CHANNELS = 10
QUIET = CHANNELS  # the number of one more channel, without a message
MESSAGES = 20_000
MOST_FOLLOWERS = 1_500  # of the first user, from whom on they become fewer (`demo_feeds`)
FAMOUS = 20  # users who have posted more than others
_FAMOUS_POSTS = 5  # of each
FOLLOWS = sum(MOST_FOLLOWERS // (n + 1) for n in range(USERS))
_MOST_LIKES = 40
_MANY_ADDRESSES = 25  # of the first user: more than a profile holds
ITEMS = ORDERS + ORDERS // 2
ADDRESSES = _MANY_ADDRESSES + sum(1 + n % 3 for n in range(1, USERS))
LIKES = sum(n % _MOST_LIKES for n in range(POSTS))
FAVOURITE = PRODUCTS  # the number of one more product, which every user has reviewed
ROWS = (
    USERS
    + ADDRESSES
    + ORDERS
    + ITEMS
    + CATEGORIES
    + PRODUCTS
    + 1
    + REVIEWS
    + USERS
    + DRIVERS
    + TRIPS
    + POSTS
    + FAMOUS * _FAMOUS_POSTS
    + LIKES
    + FOLLOWS
    + CHANNELS
    + 1
    + MESSAGES
)
_CHUNK = 10_000

_USERS = """
    insert into users (user_id, name, last_seen_at)
    select md5('user ' || n)::uuid, 'Customer ' || n, case when n %% 10 <> 9 then now() end
    from generate_series(0, %(users)s - 1) n
"""
_ADDRESSES = """
    insert into addresses (address_id, user_id, label, line, city, postcode)
    select md5('address ' || n || ' ' || i)::uuid, md5('user ' || n)::uuid, 'address ' || i, n || ' Mill Lane',
           (array['Bath','Ely','Leiden','Porto','Uppsala'])[1 + i %% 5], 'CB' || n
    from generate_series(0, %(users)s - 1) n,
         generate_series(1, case n when 0 then %(many_addresses)s else 1 + n %% 3 end) i
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
# One line or two; a line's price is its product's.
_ITEMS = """
    insert into order_items (order_id, line_no, product_id, quantity, unit_price)
    select md5('order ' || n)::uuid, line, md5('product ' || product)::uuid, 1 + (n + line) %% 3, 1 + product %% 500
    from (select n, line, (n::bigint * 7 + line * 13) %% %(products)s as product
          from generate_series(%(low)s, %(high)s - 1) n, generate_series(1, 1 + n %% 2) line) as lines
"""

_CATEGORIES = """
    insert into categories (category_id, name)
    select md5('category ' || n)::uuid, (array['Garden','Kitchen','Light','Music','Travel'])[1 + n]
    from generate_series(0, %(categories)s - 1) n
"""
_PRODUCTS = """
    insert into products (product_id, name, price, category_id)
    select md5('product ' || n)::uuid, 'Product ' || n, 1 + n %% 500, md5('category ' || n %% %(categories)s)::uuid
    from generate_series(0, %(favourite)s) n
"""
# A user's reviews are %(users)s numbers apart: n / users, one more from each to the next, makes their products differ.
_REVIEWS = """
    insert into reviews (review_id, product_id, user_id, rating, body, created_at)
    select md5('review ' || n)::uuid, md5('product ' || (n + n / %(users)s) %% %(products)s)::uuid,
           md5('user ' || n %% %(users)s)::uuid, 1 + n * 7 %% 5, 'Review ' || n,
           timestamptz '2025-01-01 00:00:00+00' + n * (interval '30 days' / %(reviews)s)
    from generate_series(0, %(reviews)s - 1) n
"""
_FAVOURITE_REVIEWS = """
    insert into reviews (review_id, product_id, user_id, rating, body, created_at)
    select md5('favourite ' || n)::uuid, md5('product ' || %(favourite)s)::uuid, md5('user ' || n)::uuid, 1 + n %% 5,
           'Review ' || n, timestamptz '2025-01-01 00:00:00+00' + n * interval '20 minutes'
    from generate_series(0, %(users)s - 1) n
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
_POSTS = """
    insert into posts (post_id, author_id, body, created_at)
    select md5('post ' || n)::uuid, md5('user ' || n * 7919 %% %(users)s)::uuid, 'An idea: ' || n,
           timestamptz '2025-01-01 00:00:00+00' + n * interval '1 hour'
    from generate_series(0, %(posts)s - 1) n
"""
# Followers are seven numbers apart: as 7 does not divide the users' number, none comes twice.
_FOLLOWS = """
    insert into follows (follower_id, followee_id, since)
    select md5('user ' || (n + 7 * i) %% %(users)s)::uuid, md5('user ' || n)::uuid, timestamptz '2025-01-01 00:00:00+00'
    from generate_series(0, %(users)s - 1) n, generate_series(1, %(most_followers)s / (n + 1)) i
"""
_OF_THE_FAMOUS = """
    insert into posts (post_id, author_id, body, created_at)
    select md5('famous ' || n || ' ' || i)::uuid, md5('user ' || n)::uuid, 'Listen: ' || i,
           timestamptz '2025-03-01 00:00:00+00' + (n + i * 100) * interval '1 minute'
    from generate_series(0, %(famous)s - 1) n, generate_series(1, %(famous_posts)s) i
"""
# Users 101 apart like the same post: none of them twice.
_LIKES = """
    insert into likes (post_id, user_id, created_at)
    select md5('post ' || n)::uuid, md5('user ' || (n + i * 101) %% %(users)s)::uuid, timestamptz '2025-02-01 00:00:00+00'
    from generate_series(0, %(posts)s - 1) n, generate_series(1, n %% %(most_likes)s) i
"""


_CHANNELS = """
    insert into channels (channel_id, name)
    select md5('channel ' || n)::uuid, 'channel ' || n from generate_series(0, %(channels)s) n
"""
_MESSAGES = """
    insert into messages (message_id, sent_at, channel_id, author_id, body)
    select id, uuid_extract_timestamp(id), md5('channel ' || n %% %(channels)s)::uuid,
           md5('user ' || n * 7919 %% %(users)s)::uuid, 'Message ' || n
    from generate_series(0, %(messages)s - 1) n,
         lateral (select date_trunc('month', now() at time zone 'UTC') - interval '1 month'
                         + n * (interval '28 days' / %(messages)s) as sent) as times,
         lateral (select (lpad(to_hex((extract(epoch from sent) * 1000)::bigint), 12, '0')
                          || '7' || left(md5('a' || n), 3) || '8' || left(md5('b' || n), 15))::uuid as id) as ids
"""


def filled_user(number: int) -> UUID:
    """The id of a filled user, from 0 to USERS - 1."""
    return UUID(md5(f"user {number}".encode(), usedforsecurity=False).hexdigest())


def filled_category(number: int) -> UUID:
    """The id of a filled category, from 0 to CATEGORIES - 1."""
    return UUID(md5(f"category {number}".encode(), usedforsecurity=False).hexdigest())


def filled_product(number: int) -> UUID:
    """The id of a filled product, from 0 to PRODUCTS - 1, and FAVOURITE."""
    return UUID(md5(f"product {number}".encode(), usedforsecurity=False).hexdigest())


def filled_channel(number: int) -> UUID:
    """The id of a filled channel, from 0 to CHANNELS - 1, and QUIET."""
    return UUID(md5(f"channel {number}".encode(), usedforsecurity=False).hexdigest())


def famous_post(author: int, number: int) -> tuple[UUID, str]:
    """The id and the time of a post, from 1 on, of one of the first FAMOUS users."""
    minutes = author + number * 100
    at = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    return UUID(
        md5(f"famous {author} {number}".encode(), usedforsecurity=False).hexdigest()
    ), f"{at:%Y-%m-%dT%H:%M:%SZ}"


def favourite_stars() -> Counter[int]:
    """How many reviews of FAVOURITE give each rating."""
    return Counter(1 + n % 5 for n in range(USERS))


def fill(conninfo: str, told: Callable[[int], None]) -> None:
    """Write users, then orders in transactions of 10,000, then the rest; `told` hears how many rows each has written."""
    counts = {"users": USERS, "orders": ORDERS, "products": PRODUCTS, "reviews": REVIEWS, "drivers": DRIVERS}
    counts |= {"trips": TRIPS, "categories": CATEGORIES, "favourite": FAVOURITE, "posts": POSTS}
    counts |= {"channels": CHANNELS, "messages": MESSAGES}
    counts |= {"most_followers": MOST_FOLLOWERS, "famous": FAMOUS, "famous_posts": _FAMOUS_POSTS}
    counts |= {"most_likes": _MOST_LIKES, "many_addresses": _MANY_ADDRESSES}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        for text in (_USERS, _ADDRESSES, _CATEGORIES, _PRODUCTS):
            told(connection.execute(text, counts).rowcount)
        for low in range(0, ORDERS, _CHUNK):
            span = {**counts, "low": low, "high": min(ORDERS, low + _CHUNK)}
            with connection.transaction():  # an order is never without its lines
                written = sum(connection.execute(text, span).rowcount for text in (_ORDERS, _ITEMS))
            told(written)
        last = (_REVIEWS, _FAVOURITE_REVIEWS, _DRIVERS, _TRIPS, _POSTS, _LIKES, _CHANNELS, _MESSAGES)
        for text in (*last, _FOLLOWS, _OF_THE_FAMOUS):
            told(connection.execute(text, counts).rowcount)
