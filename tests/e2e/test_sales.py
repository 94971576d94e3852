"""A year's daily sales: what is kept change by change is, row for row, what Postgres computes when it is asked."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from cassandra.cluster import Session

from projections.read_model import ReadModel
from projections.sales import DAILY_SALES_BY_REGION
from tests.e2e import compare, sales
from tests.e2e.pipeline import Pipeline
from tests.e2e.sales import SCHEDULED_SALES

CHANGES = (
    "update orders set status = 'cancelled' where region = 'region 7' and extract(isodow from created_at) = 7",
    "update orders set status = 'paid' where status = 'cancelled' and region = 'region 10'",
    "update orders set region = 'region 8' where region = 'region 9' and created_at < '2025-02-01'",
    "update orders set created_at = created_at + interval '1 month' where region = 'region 11' and created_at < '2025-06-01'",
    "update order_items set quantity = quantity + 5, unit_price = 0.01 where quantity = 2 and unit_price < 20",
    "delete from order_items where line_no = 1 and unit_price > 90",
    "delete from orders where region = 'region 12' and created_at between '2025-03-01' and '2025-04-01'",
    "insert into orders (order_id, user_id, region, created_at) select md5('new ' || n)::uuid, md5('user')::uuid, 'region 50',"
    " timestamptz '2024-12-31 23:59:59.999998+00' + n * interval '1 us' from generate_series(0, 2) n",
    "insert into order_items select order_id, 1, md5('product')::uuid, 1, 9999999999.99 from orders where region = 'region 50'",
)


@pytest.mark.timeout(240)
def test_incremental_equals_scheduled_over_a_year_of_fifty_regions(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    pipeline.settings = pipeline.with_settings(projector={"read_models": "tests.e2e.sales:READ_MODELS"})
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        pipeline.set_up()
        with pipeline.running("relay", "projector"):
            sales.fill(connection)
            before = _refreshed(pipeline, cassandra_session)
            assert len(before) == sales.ROWS
            compare.assert_equal(cassandra_session, keyspace, admin, sales.READ_MODELS, "filled")
            with connection.transaction():
                for change in CHANGES:
                    assert connection.execute(change.encode()).rowcount, change
            after = _refreshed(pipeline, cassandra_session)
            compare.assert_equal(cassandra_session, keyspace, admin, sales.READ_MODELS, "changed")
    assert before.keys() - after.keys(), "no day has lost its last order"
    assert after.keys() - before.keys(), "no day is new"
    assert any(after[key] != row for key, row in before.items() if key in after), "no day has changed"


def _refreshed(pipeline: Pipeline, session: Session) -> compare.Rows:
    """Run the scheduled one; the rows of both, which are the same."""
    pipeline.run("projector", "refresh", SCHEDULED_SALES.name)
    keyspace = pipeline.settings.cassandra.keyspace
    _settle(pipeline, session, sales.READ_MODELS)
    kept = compare.in_cassandra(session, keyspace, DAILY_SALES_BY_REGION)
    assert kept == compare.in_cassandra(session, keyspace, SCHEDULED_SALES)
    return kept


def _settle(pipeline: Pipeline, session: Session, models: Sequence[ReadModel]) -> None:
    settings = pipeline.settings
    position = compare.flushed(settings.postgres.admin.get_secret_value())
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    compare.wait_covered(session, keyspace, projection, models, position, seconds=90, pipeline=pipeline)
