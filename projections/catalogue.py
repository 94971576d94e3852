"""The sales of categories, month by month, as Postgres computes them once an hour."""

from sqlalchemy import Date, Integer, Numeric, Text, cast, distinct, func, select

from command_api.tables import categories, order_items, orders, products
from projections.read_model import ReadModel

_month = cast(func.date_trunc("month", orders.c.created_at), Date)
_sales = (
    select(
        _month.label("month"),
        func.coalesce(cast(products.c.category_id, Text), "none").label("category"),
        func.max(func.coalesce(categories.c.name, "Without a category")).label("category_name"),
        func.count(distinct(orders.c.order_id)).label("orders"),
        func.sum(order_items.c.quantity).label("units"),
        func.sum(order_items.c.quantity * order_items.c.unit_price, type_=Numeric(18, 2)).label("revenue"),
    )
    .join_from(orders, order_items, order_items.c.order_id == orders.c.order_id)
    .join(products, products.c.product_id == order_items.c.product_id)
    .join(categories, categories.c.category_id == products.c.category_id, isouter=True)
    .where(orders.c.status != "cancelled")
    .group_by(_month, products.c.category_id)
    .cte("sales")
)
_of_month = func.sum(_sales.c.revenue).over(partition_by=_sales.c.month)

# A rank and a share move with every other category of the month: one sale would be a write a category.
CATEGORY_REPORT = ReadModel(
    name="category_report",
    select=select(
        _sales.c.month,
        cast(
            func.rank().over(partition_by=_sales.c.month, order_by=_sales.c.revenue.desc()),
            Integer,
        ).label("place"),
        _sales.c.category,
        _sales.c.category_name,
        _sales.c.orders,
        _sales.c.units,
        _sales.c.revenue,
        cast(_sales.c.revenue / func.nullif(_of_month, 0), Numeric(7, 6)).label("share"),
    ),
    partition_key=("month",),
    clustering_key=("place", "category"),
    refresh="1h",
)
