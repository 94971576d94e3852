"""A year's sales of fifty regions, 18,250 days in all, and the read model of them twice: kept, and run on a schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg

from projections.read_model import ReadModel
from projections.sales import DAILY_SALES_BY_REGION

SCHEDULED_SALES = replace(DAILY_SALES_BY_REGION, name="daily_sales_scheduled", refresh="1d")
READ_MODELS: tuple[ReadModel, ...] = (DAILY_SALES_BY_REGION, SCHEDULED_SALES)

DAYS = 365
REGIONS = 50
ROWS = DAYS * REGIONS

# Of each day and region one to three orders, of one or two lines; the first is never cancelled, so that no day is empty.
_ORDERS = """
    insert into orders (order_id, user_id, status, region, created_at)
    select md5(day || ' ' || region || ' ' || number)::uuid, md5('user')::uuid,
           case when number > 1 and (day + region) % 5 = 0 then 'cancelled' else 'paid' end,
           'region ' || region, timestamptz '2025-01-01 00:00:00+00' + day * interval '1 day' + number * interval '7 hours'
    from generate_series(0, {days} - 1) day, generate_series(0, {regions} - 1) region,
         generate_series(1, 1 + (day * 7 + region) % 3) number
"""
_ITEMS = """
    insert into order_items (order_id, line_no, product_id, quantity, unit_price)
    select order_id, line, md5('product')::uuid, 1 + (number + line) % 4, 0.99 + number % 100
    from (select order_id, row_number() over (order by order_id) as number from orders) o,
         generate_series(1, 1 + number % 2) line
"""


def fill(connection: psycopg.Connection[Any]) -> None:
    """One transaction of 18,250 days' orders; the database has no others."""
    with connection.transaction():
        connection.execute("insert into users (user_id, name) values (md5('user')::uuid, 'Customer')")
        connection.execute("insert into products (product_id, name, price) values (md5('product')::uuid, 'Lamp', 1)")
        connection.execute(_ORDERS.format(days=DAYS, regions=REGIONS).encode())
        connection.execute(_ITEMS)
