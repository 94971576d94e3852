"""Categories, reviews, drivers and their trips, posts and their likes; a product's category must exist.

Revises: 0001. A category that products name already is made, under a name that says so. A publication is the relay's
own: ``relay setup`` adds the new tables to it and says how their rows reach the log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from command_api.migrations import roles

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SOURCE = ("categories", "reviews", "drivers", "trips", "posts", "likes")


def _version() -> sa.Column[int]:
    return sa.Column("version", sa.Integer, nullable=False, server_default="1")


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _reference(table: str, column: str, target: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{target.partition('.')[0]}"
    return sa.ForeignKeyConstraint([column], [target], name=name, ondelete=ondelete)


def upgrade() -> None:
    """Make the tables, then tie the products to their categories."""
    _categories()
    _reviews()
    _trips()
    _posts()
    for statement in roles.grants(_SOURCE, ()):
        op.execute(statement)


def _categories() -> None:
    op.create_table(
        "categories",
        sa.Column("category_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("category_id", name="pk_categories"),
    )
    # Nothing has checked category_id so far: products keep theirs, and someone can name the category later.
    op.execute(
        "insert into categories (category_id, name)"
        " select distinct category_id, 'Category ' || category_id from products where category_id is not null"
    )
    op.create_foreign_key(
        "fk_products_category_id_categories", "products", "categories", ["category_id"], ["category_id"]
    )
    op.create_index("ix_products_category_id", "products", ["category_id"])


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("review_id", sa.Uuid, nullable=False),
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("rating", sa.SmallInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _now("created_at"),
        _version(),
        sa.PrimaryKeyConstraint("review_id", name="pk_reviews"),
        sa.UniqueConstraint("product_id", "user_id", name="uq_reviews_product_id_user_id"),
        _reference("reviews", "product_id", "products.product_id"),
        _reference("reviews", "user_id", "users.user_id"),
        sa.CheckConstraint("rating between 1 and 5", name=op.f("ck_reviews_rating_in_range")),
    )
    op.create_index("ix_reviews_user_id", "reviews", ["user_id"])


def _trips() -> None:
    op.create_table(
        "drivers",
        sa.Column("driver_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        _version(),
        sa.PrimaryKeyConstraint("driver_id", name="pk_drivers"),
    )
    op.create_table(
        "trips",
        sa.Column("trip_id", sa.Uuid, nullable=False),
        sa.Column("driver_id", sa.Uuid, nullable=False),
        sa.Column("rider_id", sa.Uuid, nullable=False),
        sa.Column("city", sa.Text, nullable=False),
        _now("started_at"),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("fare", sa.Numeric(12, 2)),
        _version(),
        sa.PrimaryKeyConstraint("trip_id", name="pk_trips"),
        _reference("trips", "driver_id", "drivers.driver_id"),
        _reference("trips", "rider_id", "users.user_id"),
        sa.CheckConstraint("fare >= 0", name=op.f("ck_trips_fare_not_negative")),
        sa.CheckConstraint("(finished_at is null) = (fare is null)", name=op.f("ck_trips_finished_with_a_fare")),
    )
    op.create_index("ix_trips_driver_id", "trips", ["driver_id"])
    op.create_index("ix_trips_rider_id", "trips", ["rider_id"])


def _posts() -> None:
    op.create_table(
        "posts",
        sa.Column("post_id", sa.Uuid, nullable=False),
        sa.Column("author_id", sa.Uuid, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _now("created_at"),
        _version(),
        sa.PrimaryKeyConstraint("post_id", name="pk_posts"),
        _reference("posts", "author_id", "users.user_id"),
    )
    op.create_index("ix_posts_author_id", "posts", ["author_id"])
    op.create_table(
        "likes",
        sa.Column("post_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("post_id", "user_id", name="pk_likes"),
        _reference("likes", "post_id", "posts.post_id", "CASCADE"),
        _reference("likes", "user_id", "users.user_id", "CASCADE"),
    )
    op.create_index("ix_likes_user_id", "likes", ["user_id"])


def downgrade() -> None:
    """Drop the tables; products keep the ids of their categories."""
    op.drop_index("ix_products_category_id", "products")
    op.drop_constraint("fk_products_category_id_categories", "products")
    for table in reversed(_SOURCE):
        op.drop_table(table)
