"""Categories and products over the command API."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.command_server import Api, problem


def test_ids_may_be_given_and_are_taken_once(api: Api) -> None:
    user_id, product_id = str(uuid4()), str(uuid4())
    assert api.post("/users", {"user_id": user_id, "name": "Ada"}).json()["user_id"] == user_id
    problem(api.post("/users", {"user_id": user_id, "name": "Bob"}), 409, "conflict")
    assert api.rows("select name from users where user_id = %s", user_id) == [("Ada",)]
    api.post("/products", {"product_id": product_id, "name": "Pen", "price": "1"}).raise_for_status()
    problem(api.post("/products", {"product_id": product_id, "name": "Ink", "price": "2"}), 409, "conflict")
    order_id = api.order(user_id)
    order = {
        "order_id": order_id,
        "user_id": user_id,
        "region": "eu",
        "items": [{"product_id": product_id, "quantity": 9}],
    }
    problem(api.post("/orders", order), 409, "conflict")
    assert api.rows("select quantity from order_items where order_id = %s", order_id) == [(2,)]


@pytest.mark.parametrize("price", ["0", "0.1", "1.0", "9999999999.99", 12.5, 3, "1E+3"])
def test_prices_within_numeric_12_2_are_kept_exactly(api: Api, price: Any) -> None:
    made = api.post("/products", {"name": "Pen", "price": price}).raise_for_status().json()
    assert api.rows("select price::text from products") == [(made["price"],)]
    assert float(made["price"]) == float(price)
