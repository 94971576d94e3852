"""Users, addresses, products, orders with their items, the keys of repeated requests, and the roles.

Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from command_api.migrations import roles

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SOURCE = ("users", "addresses", "products", "orders", "order_items")
_PRIVATE = ("idempotency_keys",)


def _version() -> sa.Column[int]:
    return sa.Column("version", sa.Integer, nullable=False, server_default="1")


def upgrade() -> None:
    """Make everything."""
    op.create_table(
        "users",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("avatar_url", sa.Text),
        sa.Column("last_seen_at", sa.DateTime(timezone=True)),
        _version(),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
    )
    op.create_table(
        "addresses",
        sa.Column("address_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("city", sa.Text, nullable=False),
        sa.Column("postcode", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("address_id", name="pk_addresses"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_addresses_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_addresses_user_id", "addresses", ["user_id"])
    op.create_table(
        "products",
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("price", sa.Numeric(12, 2), nullable=False),
        sa.Column("category_id", sa.Uuid),
        _version(),
        sa.PrimaryKeyConstraint("product_id", name="pk_products"),
        sa.CheckConstraint("price >= 0", name=op.f("ck_products_price_not_negative")),
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="placed"),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        _version(),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_orders_user_id_users"),
        sa.CheckConstraint(
            "status in ('placed', 'paid', 'shipped', 'delivered', 'cancelled')", name=op.f("ck_orders_status_known")
        ),
    )
    op.create_index("ix_orders_user_id", "orders", ["user_id"])
    op.create_table(
        "order_items",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("line_no", sa.Integer, nullable=False),
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("unit_price", sa.Numeric(12, 2), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "line_no", name="pk_order_items"),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.order_id"], name="fk_order_items_order_id_orders", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["product_id"], ["products.product_id"], name="fk_order_items_product_id_products"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_items_quantity_positive")),
        sa.CheckConstraint("unit_price >= 0", name=op.f("ck_order_items_unit_price_not_negative")),
    )
    op.create_index("ix_order_items_product_id", "order_items", ["product_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("headers", postgresql.JSON),
        sa.Column("body", postgresql.JSON),
        sa.Column("token", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
        sa.CheckConstraint("length(key) between 1 and 255", name=op.f("ck_idempotency_keys_key_bounded")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    op.execute(roles.creation(roles.COMMAND_API))
    op.execute(roles.creation(roles.RELAY, "replication"))
    op.execute(roles.creation(roles.READER))
    for statement in roles.grants(_SOURCE, _PRIVATE):
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables; the roles stay, since other databases of the cluster may use them."""
    for table in (*_PRIVATE, *reversed(_SOURCE)):
        op.drop_table(table)
