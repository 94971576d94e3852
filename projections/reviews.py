"""A product's reviews, the newest first, each with its author's name."""

from datetime import timedelta

from sqlalchemy import select

from command_api.tables import reviews, users
from projections.read_model import ReadModel, descending

PRODUCT_REVIEWS = ReadModel(
    name="product_reviews",
    select=select(
        reviews.c.product_id,
        reviews.c.created_at,
        reviews.c.review_id,
        reviews.c.user_id,
        users.c.name.label("author_name"),
        reviews.c.rating,
        reviews.c.body,
    ).join(users, users.c.user_id == reviews.c.user_id),
    partition_key=("product_id",),
    clustering_key=(descending("created_at"), "review_id"),
    staleness=timedelta(seconds=5),
)
