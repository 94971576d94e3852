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


def test_a_category_is_made_once_and_renamed(api: Api) -> None:
    made = api.post("/categories", {"name": "Office"})
    assert made.status_code == 201
    category_id = made.json()["category_id"]
    assert made.headers["location"] == f"/categories/{category_id}"
    assert "etag" not in made.headers
    problem(api.post("/categories", {"category_id": category_id, "name": "Garden"}), 409, "conflict")
    assert api.put(f"/categories/{category_id}/name", {"name": "Desk"}).json()["name"] == "Desk"
    assert api.rows("select category_id::text, name from categories") == [(category_id, "Desk")]
    problem(api.put(f"/categories/{uuid4()}/name", {"name": "Desk"}), 404, "not-found")
    problem(api.put(f"/categories/{category_id}/name", {"name": "x"}, If_Match='"1"'), 400, "bad-request")


def test_each_field_of_a_product_changes_alone(api: Api) -> None:
    office, garden = api.category("Office"), api.category("Garden")
    body = {"name": "Pen", "price": "1.00", "description": "blue", "category_id": office}
    path = "/products/" + api.post("/products", body).raise_for_status().json()["product_id"]
    for field, value in (
        ("name", "Quill"),
        ("description", ""),
        ("price", "2.00"),
        ("category", garden),
        ("category", None),
    ):
        column = "category_id" if field == "category" else field
        reply = api.put(f"{path}/{field}", {column: value}).raise_for_status().json()
        body[column] = value  # type: ignore[assignment]
        assert reply.items() >= body.items()
    columns = "name, price::text, description, category_id, version"
    assert api.rows(f"select {columns} from products") == [("Quill", "2.00", "", None, 6)]
    problem(api.put(f"/products/{uuid4()}/name", {"name": "x"}), 404, "not-found")


def test_a_category_that_does_not_exist_is_refused_and_leaves_nothing(api: Api) -> None:
    unknown = {"category_id": str(uuid4())}
    problem(api.post("/products", {"name": "Pen", "price": "1", **unknown}), 422, "unknown-reference")
    assert api.rows("select from products") == []
    problem(api.put(f"/products/{api.product()}/category", unknown), 422, "unknown-reference")
    assert api.rows("select category_id, version from products") == [(None, 1)]
