"""A thousand reviewers of one product at once: its page is exact, whatever the order in which they came through."""

from __future__ import annotations

import secrets
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cassandra.cluster import Session

from projections.products import PRODUCT_PAGE
from projections.reviews import PRODUCT_REVIEWS
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline
from tests.e2e.shop import Shop, opened
from tests.integration.command_server import Api, at_once

REVIEWERS = 1_000
MODELS = (PRODUCT_PAGE, PRODUCT_REVIEWS)


@pytest.mark.timeout(240)
def test_the_page_of_a_product_with_a_thousand_reviewers_at_once_is_exact(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    admin = pipeline.settings.postgres.admin.get_secret_value()
    users = [str(uuid4()) for _ in range(REVIEWERS)]
    # A thousand wait for ten connections: without a 503, however slow the machine.
    with opened(pipeline, timeout_ms=60_000) as shop, psycopg.connect(admin, autocommit=True) as connection:
        api = Api(url=str(shop.commands.base_url), http=shop.commands, admin=connection)
        with connection.cursor() as cursor:
            cursor.executemany("insert into users (user_id, name) values (%s, 'Ada')", [(user,) for user in users])
        product = shop.made("product", "/products", name="Lamp", price="12.50")
        ratings = {user: rng.randint(1, 5) for user in users}
        bodies = [{"product_id": product, "user_id": user, "rating": ratings[user]} for user in users]
        written = _at_once(shop, api, [("POST", "/reviews", body, {}) for body in bodies], 201)
        _check(shop, product, ratings, f"seed {seed}, written")
        _at_once(shop, api, _changes(rng, written, ratings), 200)
        _check(shop, product, ratings, f"seed {seed}, edited and deleted")
        keyspace, projection = pipeline.settings.cassandra.keyspace, pipeline.settings.projector.projection
        position = compare.flushed(admin)
        compare.wait_covered(cassandra_session, keyspace, projection, MODELS, position, seconds=60, pipeline=pipeline)
        rows = compare.assert_equal(cassandra_session, keyspace, admin, MODELS, f"seed {seed}")
    assert rows == {"product_page": 1, "product_reviews": len(ratings)}


def _changes(
    rng: Random, written: list[dict[str, Any]], ratings: dict[str, int]
) -> list[tuple[str, str, Any, dict[str, str]]]:
    """Edits and deletes of half of the reviews, to be sent at once; `ratings` becomes what they leave."""
    changes: list[tuple[str, str, Any, dict[str, str]]] = []
    for review in written:
        path, roll = f"/reviews/{review['review_id']}", rng.random()
        if roll < 0.3:
            ratings[review["user_id"]] = rating = rng.randint(1, 5)
            changes.append(("PUT", path, {"rating": rating, "body": "again"}, {}))
        elif roll < 0.5:
            del ratings[review["user_id"]]
            changes.append(("DELETE", path, None, {}))
    return changes


def _at_once(
    shop: Shop, api: Api, requests: list[tuple[str, str, Any, dict[str, str]]], status: int
) -> list[dict[str, Any]]:
    """Their replies, each of the status that it must have; the shop's token becomes the newest of theirs."""
    replies = at_once(api, requests)
    assert Counter(reply.status_code for reply in replies) == {status: len(requests)}
    shop.saw(reply.headers["Consistency-Token"] for reply in replies)
    return [reply.json() for reply in replies]


def _check(shop: Shop, product: str, ratings: dict[str, int], context: str) -> None:
    page = shop.row(f"product_page/{product}")
    stars = Counter(ratings.values())
    found = {name: page[name] for name in ("review_count", "rating_sum", *(f"rating_{n}" for n in range(1, 6)))}
    assert found == {
        "review_count": len(ratings),
        "rating_sum": sum(ratings.values()),
        **{f"rating_{n}": stars[n] for n in range(1, 6)},
    }, context
    average = Decimal(sum(ratings.values())) / len(ratings)
    assert abs(Decimal(page["rating_average"]) - average) < Decimal("1e-15"), context
