"""A product's page: what is sold, and what its reviewers make of it."""

from datetime import timedelta

from sqlalchemy import func, select

from command_api.tables import categories, products, reviews
from projections.read_model import ReadModel

_opinions = (
    select(
        reviews.c.product_id,
        func.count().label("review_count"),
        func.sum(reviews.c.rating).label("rating_sum"),
        func.avg(reviews.c.rating).label("rating_average"),
        *(func.count().filter(reviews.c.rating == rating).label(f"rating_{rating}") for rating in range(1, 6)),
    )
    .group_by(reviews.c.product_id)
    .subquery("opinions")
)

PRODUCT_PAGE = ReadModel(
    name="product_page",
    select=select(
        products.c.product_id,
        products.c.name,
        products.c.description,
        products.c.price,
        products.c.category_id,
        categories.c.name.label("category_name"),
        func.coalesce(_opinions.c.review_count, 0).label("review_count"),
        func.coalesce(_opinions.c.rating_sum, 0).label("rating_sum"),
        _opinions.c.rating_average,
        *(func.coalesce(_opinions.c[f"rating_{rating}"], 0).label(f"rating_{rating}") for rating in range(1, 6)),
    )
    .join(categories, categories.c.category_id == products.c.category_id, isouter=True)
    .join(_opinions, _opinions.c.product_id == products.c.product_id, isouter=True),
    partition_key=("product_id",),
    staleness=timedelta(seconds=5),
)
