"""Scheduled read models over orders, for tests: SQL that no incremental compile takes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Date,
    Integer,
    Numeric,
    Text,
    cast,
    distinct,
    func,
    literal,
    select,
    text,
    union_all,
)

from command_api.tables import orders, users
from projections.read_model import ReadModel, descending

_per_user = (
    select(orders.c.user_id, func.count().label("orders"), func.sum(orders.c.version).label("versions"))
    .group_by(orders.c.user_id)
    .cte("per_user")
)

# A CTE, a join with it, window functions, and a quotient that is cast to the scale that it declares.
USER_RANKS = ReadModel(
    name="user_ranks",
    select=select(
        literal("all").label("board"),
        cast(func.rank().over(order_by=_per_user.c.orders.desc()), Integer).label("place"),
        users.c.user_id,
        users.c.name,
        _per_user.c.orders,
        cast(100 * _per_user.c.orders / func.sum(_per_user.c.orders).over(), Numeric(9, 4)).label("percent"),
    ).join(_per_user, _per_user.c.user_id == users.c.user_id),
    partition_key=("board",),
    clustering_key=("place", "user_id"),
    refresh="1h",
)

_days: Any = union_all(
    select(literal("order").label("kind"), cast(orders.c.created_at, Date).label("day"), func.count().label("events"))
    .group_by(cast(orders.c.created_at, Date)),
    select(literal("user"), cast(users.c.last_seen_at, Date), func.count(distinct(users.c.name)))
    .where(users.c.last_seen_at.is_not(None))
    .group_by(cast(users.c.last_seen_at, Date)),
)  # fmt: skip
EVENTS_BY_DAY = ReadModel(
    name="events_by_day",
    select=_days,
    partition_key=("kind",),
    clustering_key=(descending("day"),),
    refresh="30 4 * * *",
)

_words: Any = text(
    "select 'of ' || region || ' 100%%' as title, array_agg(status order by status)::text as statuses,"
    " json_build_object('most', max(version))::text as summary from orders group by region"
    " having count(*) > 0".replace("%%", "%")
).columns(title=Text, statuses=Text, summary=Text)
REGIONS_IN_WORDS = ReadModel(name="regions_in_words", select=_words, partition_key=("title",), refresh="1d")

# A version of 0 makes it fail, and it is looked at every second.
QUOTIENTS = ReadModel(
    name="quotients",
    select=select(orders.c.order_id, cast(1000 / orders.c.version, BigInteger).label("quotient")),
    partition_key=("order_id",),
    refresh="1s",
)

HOURLY = ReadModel(
    name="hourly",
    select=select(orders.c.order_id, orders.c.status),
    partition_key=("order_id",),
    refresh="1h",
)

READ_MODELS = (USER_RANKS, EVENTS_BY_DAY, REGIONS_IN_WORDS)
FAILING = (QUOTIENTS,)
ONE = (HOURLY,)
