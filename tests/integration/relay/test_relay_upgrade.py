"""A database of the first revision, with rows and a relay that streams, takes the later ones: what it held stays, and
the publication that was made before picks up the new tables."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import NullPool, create_engine

from command_api.migrations.apply import configuration, migrate
from command_api.process.settings import Settings
from command_api.relay.fresh_snapshot import fresh_snapshot
from command_api.relay.setup import setup
from command_api.tables import METADATA
from tests.integration.relay.stand import covered, flushed, for_tables, log_records, running

FIRST = ("users", "addresses", "products", "orders", "order_items")
CATEGORY = "00000000-0000-7000-8000-0000000000c1"
PRODUCTS = """
    insert into products (product_id, name, price, category_id) values
    (gen_random_uuid(), 'Pen', 1, %(category)s), (gen_random_uuid(), 'Ink', 2, %(category)s),
    (gen_random_uuid(), 'Pad', 3, null)
"""


def _changes(settings: Settings, table: str) -> list[tuple[str, Any]]:
    return [
        (record["op"], record["after"])
        for record in log_records(settings)
        if record.get("source", {}).get("table") == table
    ]


@pytest.fixture
def first_revision(settings: Settings) -> Settings:
    """Settings over a database that was migrated by the first version, with products whose category nobody checked."""
    conninfo = settings.postgres.admin.get_secret_value()
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=NullPool)
    with engine.connect() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.commit()
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
        admin.execute(PRODUCTS, {"category": CATEGORY})
    return settings


def test_an_existing_database_and_its_publication_take_the_new_tables(
    first_revision: Settings, admin: psycopg.Connection[Any]
) -> None:
    settings = first_revision
    setup(for_tables(settings, *FIRST))
    with running(settings) as state:
        migrate(settings.postgres)
        covered(state, flushed(admin))
    assert admin.execute("select category_id::text, name from categories").fetchall() == [
        (CATEGORY, f"Category {CATEGORY}")
    ]
    assert admin.execute("select count(category_id), count(*) from products").fetchone() == (2, 3)
    assert _changes(settings, "categories") == []

    report = setup(settings)
    assert set(report.tables) == {f"public.{table.name}" for table in METADATA.sorted_tables}
    assert report.snapshot_rows is None
    command_api = settings.postgres.command_api.get_secret_value()
    with running(settings) as state, psycopg.connect(command_api, autocommit=True) as connection:
        connection.execute(
            "insert into reviews (review_id, product_id, user_id, rating, body)"
            " select gen_random_uuid(), product_id, user_id, 5, 'good' from users, products where products.name = 'Pad'"
        )
        covered(state, flushed(admin))
    assert [(op, after["rating"]) for op, after in _changes(settings, "reviews")] == [("c", 5)]

    fresh_snapshot(settings)
    assert [(op, after["category_id"]) for op, after in _changes(settings, "categories")] == [("r", CATEGORY)]


def test_a_category_that_products_name_must_exist_from_then_on(
    first_revision: Settings, admin: psycopg.Connection[Any]
) -> None:
    migrate(first_revision.postgres)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        admin.execute("update products set category_id = gen_random_uuid()")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        admin.execute("delete from categories")
