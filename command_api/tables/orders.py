"""Orders and their items."""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Integer, Numeric, Table, Text, Uuid, func

from command_api.tables.metadata import METADATA

STATUSES = ("placed", "paid", "shipped", "delivered", "cancelled")

orders = Table(
    "orders",
    METADATA,
    Column("order_id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column(
        "status",
        Text,
        CheckConstraint(f"status in {STATUSES!r}", name="status_known"),
        nullable=False,
        server_default=STATUSES[0],
    ),
    Column("region", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default="1"),
)

order_items = Table(
    "order_items",
    METADATA,
    Column("order_id", Uuid, ForeignKey("orders.order_id", ondelete="CASCADE"), primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("product_id", Uuid, ForeignKey("products.product_id"), nullable=False, index=True),
    Column("quantity", Integer, CheckConstraint("quantity > 0", name="quantity_positive"), nullable=False),
    Column(
        "unit_price", Numeric(12, 2), CheckConstraint("unit_price >= 0", name="unit_price_not_negative"), nullable=False
    ),
)
