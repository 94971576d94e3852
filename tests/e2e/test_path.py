"""Random transactions through the real path — Postgres, relay, Kafka, projector, Cassandra — end as their SQL says."""

from __future__ import annotations

import secrets
from collections import Counter
from random import Random

import psycopg
import pytest
from cassandra.cluster import Session

import projections
from command_api import months
from projections.read_model import ReadModel
from tests.e2e import compare
from tests.e2e.load import MONTHS
from tests.e2e.pipeline import Pipeline
from tests.e2e.transactions import Source
from tests.oracle import schema, views

MANY_ORDERS = """
    insert into orders (order_id, user_id, status, region, created_at)
    select md5('{salt}' || i)::uuid, user_id, 'placed', 'eu', timestamptz '2024-03-01 12:00+00' + i * interval '1 s'
    from generate_series(1, 3000) i, (select user_id from users order by user_id limit 1) u
"""
MANY_REVIEWS = """
    with p as (insert into products (product_id, name, price) values (md5('{salt}')::uuid, 'Hot', 1) returning product_id),
         u as (insert into users (user_id, name) select md5('{salt}u' || i)::uuid, 'Reviewer ' || i
               from generate_series(1, 1000) i returning user_id)
    insert into reviews (review_id, product_id, user_id, rating, body, created_at)
    select md5('{salt}' || user_id)::uuid, product_id, user_id, 1 + (hashtext(user_id::text) & 3), repeat('é', 40),
           timestamptz '2024-03-01 12:00+00' from u, p
"""
MANY_TRIPS = """
    with v as (insert into drivers (driver_id, name) values (md5('{salt}')::uuid, 'Many') returning driver_id),
         u as (insert into users (user_id, name) values (md5('{salt}r')::uuid, 'Rider') returning user_id)
    insert into trips (trip_id, driver_id, rider_id, city, started_at)
    select md5('{salt}' || i)::uuid, driver_id, user_id, 'Ely', timestamptz '2024-03-01 12:00+00' + i * interval '1 min'
    from generate_series(1, 2000) i, u, v
"""
MANY_LINES = """
    with u as (insert into users (user_id, name) select md5('{salt}u' || i)::uuid, 'Buyer ' || i
               from generate_series(1, 50) i returning user_id),
         p as (insert into products (product_id, name, price) values (md5('{salt}p')::uuid, 'Sold', 1) returning product_id),
         o as (insert into orders (order_id, user_id, status, region, created_at)
               select md5(user_id::text || i)::uuid, user_id, case i % 7 when 0 then 'cancelled' else 'paid' end,
                      'region ' || i % 5, timestamptz '2024-01-01 23:00+00' + i * interval '7 hours'
               from u, generate_series(1, 20) i returning order_id),
         a as (insert into addresses (address_id, user_id, label, line, city, postcode)
               select md5(user_id::text || 'at' || i)::uuid, user_id, 'home', i || ' Way', 'Ely', 'CB7'
               from u, generate_series(1, 25) i)
    insert into order_items (order_id, line_no, product_id, quantity, unit_price)
    select order_id, i, product_id, i, 9.99 from o, p, generate_series(1, 3) i
"""
MANY_MESSAGES = """
    with u as (insert into users (user_id, name) values (md5('{salt}a')::uuid, 'Author') returning user_id),
         c as (insert into channels (channel_id, name) values (md5('{salt}')::uuid, 'many') returning channel_id),
         m as (select ('018df74f' || lpad(to_hex(n % 2 * 32768 + n), 4, '0') || '7' || left(md5('{salt}'), 3) || '8'
                       || left(md5('{salt}' || n), 15))::uuid as id from generate_series(1, 2000) n)
    insert into messages (message_id, sent_at, channel_id, author_id, body)
    select id, uuid_extract_timestamp(id), channel_id, user_id, 'hello' from m, u, c
"""
MANY_POSTS = """
    with u as (insert into users (user_id, name) values (md5('{salt}a')::uuid, 'Author') returning user_id),
         r as (insert into users (user_id, name, last_seen_at) select md5('{salt}r' || i)::uuid, 'Reader ' || i, now()
               from generate_series(1, 20) i returning user_id),
         f as (insert into follows (follower_id, followee_id) select r.user_id, u.user_id from r, u)
    insert into posts (post_id, author_id, body) select md5('{salt}p' || i)::uuid, user_id, 'hello' from generate_series(1, 100) i, u
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
) -> Counter[str]:
    """Rounds of transactions; after each, when the log is quiet, every model equals its SQL. Rows compared by model."""
    rows: Counter[str] = Counter()
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
        rows.update(compare.assert_equal(session, keyspace, admin, models, f"{context}, round {number}"))
    return rows


@pytest.mark.timeout(180)
def test_the_reference_read_models_equal_their_sql(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        for month in set(MONTHS) - set(months.existing(connection)):
            months.create(connection, month)
        many = {
            "orders": MANY_ORDERS,
            "reviews": MANY_REVIEWS,
            "trips": MANY_TRIPS,
            "lines": MANY_LINES,
            "messages": MANY_MESSAGES,
            "posts": MANY_POSTS,
        }
        source = Source(connection, schema.APPLICATION, schema.DOMAINS, rng, many)
        for _ in range(20):
            source.transaction()  # what the snapshot holds
        pipeline.set_up()
        with pipeline.running("relay", "projector"):
            rows = _drive(
                pipeline,
                cassandra_session,
                source,
                projections.READ_MODELS,
                rounds=12,
                transactions=40,
                context=f"seed {seed}",
            )
    wanted = {"insert", "update", "key_change", "delete", "truncate", "rollback", "rollback to savepoint", "big lines"}
    assert wanted <= set(source.made), f"seed {seed}: the run made only {source.made}"
    assert all(rows[model.name] for model in projections.INCREMENTAL), f"seed {seed}: {rows}"


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
