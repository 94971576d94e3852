"""The source tables, by domain, as SQLAlchemy metadata: one `METADATA` for migrations, the relay and the projector."""

from command_api.tables.catalogue import categories, products
from command_api.tables.follows import follows
from command_api.tables.messages import channels, messages
from command_api.tables.metadata import METADATA
from command_api.tables.orders import order_items, orders
from command_api.tables.people import addresses, users
from command_api.tables.posts import likes, posts
from command_api.tables.reviews import reviews
from command_api.tables.trips import drivers, trips

__all__ = [
    "METADATA",
    "addresses",
    "categories",
    "channels",
    "drivers",
    "follows",
    "likes",
    "messages",
    "order_items",
    "orders",
    "posts",
    "products",
    "reviews",
    "trips",
    "users",
]
