"""The read model that the writer's and the projector's figures are of: orders with their user's name, one join."""

from __future__ import annotations

from sqlalchemy import select

from command_api.tables import orders, users
from projections.read_model import ReadModel, descending

ORDERS_WITH_NAME = ReadModel(
    name="orders_by_user",
    select=select(
        orders.c.user_id,
        orders.c.created_at,
        orders.c.order_id,
        orders.c.status,
        orders.c.region,
        users.c.name.label("user_name"),
    ).join(users, users.c.user_id == orders.c.user_id),
    partition_key=("user_id",),
    clustering_key=(descending("created_at"), "order_id"),
)
