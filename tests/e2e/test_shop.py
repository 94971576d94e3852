"""Aggregates and documents as customers meet them: each command, read back with its token, shows what it has changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cluster import Session

import projections
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline
from tests.e2e.shop import Shop, opened
from tests.http_client import HTTP

CUT = "a document is cut at its bound"
NOBODY = {"review_count": 0, "rating_sum": 0, "rating_average": None} | {f"rating_{n}": 0 for n in range(1, 6)}


@pytest.fixture
def shop(pipeline: Pipeline) -> Iterator[Shop]:
    with opened(pipeline) as found:
        yield found


@pytest.fixture(autouse=True)
def equal_at_the_end(shop: Shop, pipeline: Pipeline, cassandra_session: Session) -> Iterator[None]:
    """Whatever a test has done, every read model equals its SQL after it."""
    yield
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    compare.wait_covered(
        cassandra_session,
        keyspace,
        settings.projector.projection,
        projections.READ_MODELS,
        compare.flushed(admin),
        seconds=60,
        pipeline=pipeline,
    )
    compare.assert_equal(cassandra_session, keyspace, admin, projections.INCREMENTAL, "after the test")


def opinions(page: dict[str, Any]) -> dict[str, Any]:
    return {name: page[name] for name in NOBODY}


@pytest.mark.timeout(120)
def test_a_products_page_follows_its_reviews_its_category_and_its_price(shop: Shop) -> None:
    lights, music = (shop.made("category", "/categories", name=name) for name in ("Light", "Music"))
    lamp = shop.made("product", "/products", name="Lamp", price="12.50", category_id=lights)
    ada, bob = (shop.made("user", "/users", name=name) for name in ("Ada", "Bob"))
    path = f"product_page/{lamp}"
    page = shop.row(path)
    assert (page["category_name"], page["price"]) == ("Light", "12.50")
    assert opinions(page) == NOBODY
    first = shop.made("review", "/reviews", product_id=lamp, user_id=ada, rating=5, body="")
    second = shop.made("review", "/reviews", product_id=lamp, user_id=bob, rating=2, body="")
    page = shop.row(path)
    assert opinions(page) == NOBODY | {
        "review_count": 2, "rating_sum": 7, "rating_average": "3.5000000000000000", "rating_2": 1, "rating_5": 1,
    }  # fmt: skip
    shop.send("PUT", f"/reviews/{second}", {"rating": 5, "body": "after all"})
    page = shop.row(path)
    assert (page["rating_sum"], page["rating_2"], page["rating_5"]) == (10, 0, 2)
    assert Decimal(page["rating_average"]) == 5
    shop.send("PUT", f"/products/{lamp}/category", {"category_id": music})
    shop.send("PUT", f"/categories/{music}/name", {"name": "Musik"})
    shop.send("PUT", f"/products/{lamp}/price", {"price": "9.90"})
    page = shop.row(path)
    assert (page["category_name"], page["price"], page["review_count"]) == ("Musik", "9.90", 2)
    for review in (first, second):
        shop.send("DELETE", f"/reviews/{review}")
    assert opinions(shop.row(path)) == NOBODY


@pytest.mark.timeout(120)
def test_a_cancelled_order_leaves_its_days_sales_and_a_deleted_one_everything(shop: Shop) -> None:
    lamp = shop.made("product", "/products", name="Lamp", price="12.50")
    pen = shop.made("product", "/products", name="Pen", price="0.99")
    ada = shop.made("user", "/users", name="Ada")

    def placed(*lines: tuple[str, int]) -> dict[str, Any]:
        items = [{"product_id": product, "quantity": quantity} for product, quantity in lines]
        return shop.send("POST", "/orders", {"user_id": ada, "region": "eu", "items": items})

    def sales() -> list[tuple[Any, ...]]:
        return [(row["orders"], row["units"], row["revenue"]) for row in shop.rows(month)]

    first, second = placed((lamp, 2), (pen, 1)), placed((pen, 10))
    months = {order["created_at"][:8] + "01" for order in (first, second)}
    assert len(months) == 1, "the month has just ended: run the test again"
    month = f"daily_sales_by_region/eu/{months.pop()}"
    by_id = {row["order_id"]: row for row in shop.rows(f"orders_by_user/{ada}")}
    assert [(by_id[o["order_id"]]["item_count"], by_id[o["order_id"]]["total"]) for o in (first, second)] == [
        (2, "25.99"),
        (1, "9.90"),
    ]
    assert sum(orders for orders, _, _ in sales()) == 2
    assert sum(Decimal(revenue) for _, _, revenue in sales()) == Decimal("35.89")
    shop.send("POST", f"/orders/{first['order_id']}/cancel")
    assert sales() == [(1, 10, "9.90")]
    assert len(shop.rows(f"orders_by_user/{ada}")) == 2, "a cancelled order is still its user's"
    shop.send("DELETE", f"/orders/{second['order_id']}")
    assert sales() == [], "a day without sales has no row"
    assert [row["total"] for row in shop.rows(f"orders_by_user/{ada}")] == ["25.99"]


@pytest.mark.timeout(120)
def test_a_post_counts_who_likes_it_and_shows_its_author(shop: Shop) -> None:
    ada, bob, eve = (shop.made("user", "/users", name=name) for name in ("Ada", "Bob", "Eve"))
    post = shop.made("post", "/posts", author_id=ada, body="hello")
    path = f"post_by_id/{post}"
    assert shop.row(path)["like_count"] == 0
    for user in (bob, eve, bob):
        shop.send("PUT", f"/posts/{post}/likes/{user}")
    assert shop.row(path)["like_count"] == 2, "who likes it twice counts once"
    shop.send("DELETE", f"/posts/{post}/likes/{eve}")
    shop.send("PUT", f"/users/{ada}/name", {"name": "Ada Lovelace"})
    shop.send("PUT", f"/users/{ada}/avatar", {"avatar_url": "https://pictures.example/1.png"})
    row = shop.row(path)
    assert (row["like_count"], row["author_name"], row["avatar_url"], row["body"]) == (
        1, "Ada Lovelace", "https://pictures.example/1.png", "hello",
    )  # fmt: skip
    shop.send("DELETE", f"/users/{bob}")
    assert shop.row(path)["like_count"] == 0, "a user's likes go with the user"
    shop.send("DELETE", f"/posts/{post}")
    assert shop.rows(path) == []


@pytest.mark.timeout(120)
def test_a_profile_holds_twenty_addresses_and_says_when_there_are_more(shop: Shop, pipeline: Pipeline) -> None:
    ada = shop.made("user", "/users", name="Ada")
    path = f"user_profile/{ada}"
    assert (shop.row(path)["addresses"], shop.row(path)["addresses_truncated"]) == ([], False)
    made = sorted(_address(shop, ada, number) for number in range(20))
    row = shop.row(path)
    assert [address["address_id"] for address in row["addresses"]] == made
    assert row["addresses_truncated"] is False
    assert (_lines(pipeline, CUT), _cut(pipeline)) == ([], 0)
    made = sorted([*made, *(_address(shop, ada, number) for number in range(20, 23))])
    row = shop.row(path)
    assert [address["address_id"] for address in row["addresses"]] == made[:20]
    assert row["addresses_truncated"] is True
    shop.send(
        "PUT", f"/users/{ada}/addresses/{made[0]}", {"label": "é", "line": "2 Way", "city": "Ely", "postcode": "E"}
    )
    assert shop.row(path)["addresses"][0] == {
        "address_id": made[0], "label": "é", "line": "2 Way", "city": "Ely", "postcode": "E",
    }  # fmt: skip
    assert _cut(pipeline) >= 1, "how many batches the commands were in is the worker's affair"
    (line,) = _lines(pipeline, CUT)
    assert (line["read_model"], line["column"], line["key"]) == (
        "user_profile", "addresses_truncated", {"user_id": ada},
    )  # fmt: skip
    for gone in made[:3]:
        shop.send("DELETE", f"/users/{ada}/addresses/{gone}")
    row = shop.row(path)
    assert [address["address_id"] for address in row["addresses"]] == made[3:]
    assert row["addresses_truncated"] is False


def _address(shop: Shop, user: str, number: int) -> str:
    body = {"label": f"home {number}", "line": f"{number} Way", "city": "Ely", "postcode": "CB7"}
    return shop.made("address", f"/users/{user}/addresses", **body)


def _lines(pipeline: Pipeline, event: str) -> list[dict[str, Any]]:
    """The worker's lines of an event."""
    lines = map(json.loads, (pipeline.folder / "projector.log").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def _cut(pipeline: Pipeline) -> float:
    """The worker's metric of profiles that were cut."""
    (served,) = _lines(pipeline, "metrics are served")
    text = HTTP.get(f"http://127.0.0.1:{served['port']}/metrics", timeout=10).text
    found = re.search(r'^projection_documents_truncated_total{read_model="user_profile"} (\S+)$', text, re.MULTILINE)
    assert found, text
    return float(found[1])
