"""The source tables, by domain, as SQLAlchemy metadata: one `METADATA` for migrations, the relay and the projector."""

from command_api.tables.catalogue import products
from command_api.tables.metadata import METADATA
from command_api.tables.orders import order_items, orders
from command_api.tables.people import addresses, users

__all__ = ["METADATA", "addresses", "order_items", "orders", "products", "users"]
