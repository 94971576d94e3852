"""Random transactions through the real path — Postgres, relay, Kafka, projector, Cassandra — end as their SQL says."""

from __future__ import annotations

import secrets
from random import Random

import psycopg
import pytest
from cassandra.cluster import Session

import projections
from command_api.tables import orders, users
from projections.read_model import ReadModel
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline
from tests.e2e.transactions import Source
from tests.oracle import schema, views

MANY_ORDERS = """
    insert into orders (order_id, user_id, status, region, created_at)
    select md5('{salt}' || i)::uuid, user_id, 'placed', 'eu', timestamptz '2024-03-01 12:00+00' + i * interval '1 s'
    from generate_series(1, 3000) i, (select user_id from users order by user_id limit 1) u
"""
MANY_D = """
    insert into d (id, x_id, y1, y2, value, at, day)
    select 1000 + {salt} + i, i % 3, i % 2, 'a', i, timestamptz '2024-03-01 12:00+00' + i * interval '1 s', '2024-03-01'
    from generate_series(1, 2000) i on conflict (id) do nothing
"""


def _drive(
    pipeline: Pipeline,
    session: Session,
    source: Source,
    models: tuple[ReadModel, ...],
    *,
    rounds: int,
    transactions: int,
    context: str,
) -> None:
    """Rounds of transactions; after each, when the log is quiet, every model equals its SQL."""
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    for number in range(rounds):
        for _ in range(transactions):
            source.transaction()
        if number == rounds // 2:
            source.big()
        compare.wait_covered(
            session,
            keyspace,
            settings.projector.projection,
            models,
            compare.flushed(admin),
            seconds=60,
            pipeline=pipeline,
        )
        compare.assert_equal(session, keyspace, admin, models, f"{context}, round {number}")


@pytest.mark.timeout(180)
def test_the_reference_read_models_equal_their_sql(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        source = Source(connection, (users, orders), schema.DOMAINS, rng, {"orders": MANY_ORDERS})
        for _ in range(20):
            source.transaction()  # what the snapshot holds
        pipeline.set_up()
        with pipeline.running("relay", "projector"):
            _drive(
                pipeline,
                cassandra_session,
                source,
                projections.READ_MODELS,
                rounds=12,
                transactions=40,
                context=f"seed {seed}",
            )
    wanted = {"insert", "update", "key_change", "delete", "truncate", "rollback", "rollback to savepoint", "big orders"}
    assert wanted <= set(source.made), f"seed {seed}: the run made only {source.made}"


@pytest.mark.timeout(180)
def test_every_declared_view_equals_its_sql(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    admin = pipeline.settings.postgres.admin.get_secret_value()
    names = tuple(f"public.{table.name}" for table in schema.TABLES)
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.oracle.schema:METADATA", "tables": names},
        projector={"read_models": "tests.oracle.views:VIEWS", "metadata": "tests.oracle.schema:METADATA"},
    )
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        compare.create_tables(connection, schema.METADATA)
        source = Source(connection, schema.TABLES, schema.DOMAINS, rng, {"orders": MANY_ORDERS, "d": MANY_D})
        for _ in range(40):
            source.transaction()
        pipeline.set_up()
        with pipeline.running("relay", "projector"):
            _drive(
                pipeline,
                cassandra_session,
                source,
                views.VIEWS,
                rounds=8,
                transactions=60,
                context=f"seed {seed}",
            )
    wanted = {"insert", "update", "key_change", "delete", "truncate", "rollback", "rollback to savepoint", "big d"}
    assert wanted <= set(source.made), f"seed {seed}: the run made only {source.made}"
