"""Orders as their three queries read them."""

from datetime import timedelta

from sqlalchemy import Date, cast, func, select

from command_api.tables import order_items, orders, users
from projections.read_model import ReadModel, descending

_lines = (
    select(
        order_items.c.order_id,
        func.count().label("item_count"),
        func.sum(order_items.c.quantity * order_items.c.unit_price).label("total"),
    )
    .group_by(order_items.c.order_id)
    .subquery("lines")
)

ORDERS_BY_USER = ReadModel(
    name="orders_by_user",
    select=select(
        orders.c.user_id,
        orders.c.created_at,
        orders.c.order_id,
        orders.c.status,
        orders.c.region,
        users.c.name.label("user_name"),
        func.coalesce(_lines.c.item_count, 0).label("item_count"),
        func.coalesce(_lines.c.total, 0).label("total"),
    )
    .join(users, users.c.user_id == orders.c.user_id)
    .join(_lines, _lines.c.order_id == orders.c.order_id, isouter=True),
    partition_key=("user_id",),
    clustering_key=(descending("created_at"), "order_id"),
    staleness=timedelta(seconds=5),
    owner="user_id",
)

ORDER_BY_ID = ReadModel(
    name="order_by_id",
    select=select(
        orders.c.order_id,
        orders.c.user_id,
        users.c.name.label("user_name"),
        orders.c.status,
        orders.c.region,
        orders.c.created_at,
        orders.c.version,
    ).join(users, users.c.user_id == orders.c.user_id),
    partition_key=("order_id",),
    staleness=timedelta(seconds=5),
)

ORDERS_BY_STATUS = ReadModel(
    name="orders_by_status",
    select=select(
        orders.c.status,
        cast(orders.c.created_at, Date).label("day"),
        orders.c.created_at,
        orders.c.order_id,
        orders.c.user_id,
        orders.c.region,
        users.c.name.label("user_name"),
    ).join(users, users.c.user_id == orders.c.user_id),
    partition_key=("status", "day"),
    clustering_key=(descending("created_at"), "order_id"),
    staleness=timedelta(seconds=5),
)
