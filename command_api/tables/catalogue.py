"""Products on sale, and the categories that they are in."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Numeric, Table, Text, Uuid

from command_api.tables.metadata import METADATA

categories = Table(
    "categories",
    METADATA,
    Column("category_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
)

products = Table(
    "products",
    METADATA,
    Column("product_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("price", Numeric(12, 2), CheckConstraint("price >= 0", name="price_not_negative"), nullable=False),
    Column("category_id", Uuid, ForeignKey("categories.category_id"), index=True),
    Column("version", Integer, nullable=False, server_default="1"),
)
