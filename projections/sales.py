"""What each region sells, day by day; a cancelled order leaves its day."""

from datetime import timedelta

from sqlalchemy import Date, cast, distinct, func, select

from command_api.tables import order_items, orders
from projections.read_model import ReadModel

_month = cast(func.date_trunc("month", orders.c.created_at), Date)
_day = cast(orders.c.created_at, Date)

DAILY_SALES_BY_REGION = ReadModel(
    name="daily_sales_by_region",
    select=select(
        orders.c.region,
        _month.label("month"),
        _day.label("day"),
        func.count(distinct(orders.c.order_id)).label("orders"),
        func.sum(order_items.c.quantity).label("units"),
        func.sum(order_items.c.quantity * order_items.c.unit_price).label("revenue"),
    )
    .join_from(orders, order_items, order_items.c.order_id == orders.c.order_id)
    .where(orders.c.status != "cancelled")
    .group_by(orders.c.region, _month, _day),
    partition_key=("region", "month"),
    clustering_key=("day",),
    staleness=timedelta(seconds=5),
)
