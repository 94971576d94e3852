"""What users say of products: one review a user and product."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)

from command_api.tables.metadata import METADATA

reviews = Table(
    "reviews",
    METADATA,
    Column("review_id", Uuid, primary_key=True),
    Column("product_id", Uuid, ForeignKey("products.product_id"), nullable=False),  # the unique index begins with it
    Column("user_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("rating", SmallInteger, CheckConstraint("rating between 1 and 5", name="rating_in_range"), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default="1"),
    UniqueConstraint("product_id", "user_id"),
)
