"""Orders over the command API: prices of their moment, moves, and what happens at the same time."""

from __future__ import annotations

from uuid import uuid4

from tests.integration.command_server import Api, at_once, problem


def test_an_order_takes_the_prices_of_its_moment(api: Api) -> None:
    user_id, pen, ink = api.user(), api.product("12.50"), api.product("0")
    items = [{"product_id": pen, "quantity": 2}, {"product_id": ink, "quantity": 1}, {"product_id": pen, "quantity": 3}]
    made = api.post("/orders", {"user_id": user_id, "region": "eu", "items": items})
    assert made.status_code == 201
    order = made.json()
    assert [(i["line_no"], i["product_id"], i["quantity"], i["unit_price"]) for i in order["items"]] == [
        (1, pen, 2, "12.50"),
        (2, ink, 1, "0.00"),
        (3, pen, 3, "12.50"),
    ]
    assert order["status"] == "placed"
    assert order["created_at"].endswith("Z")
    api.put(f"/products/{pen}/price", {"price": "99.99"}).raise_for_status()
    assert api.rows("select unit_price::text from order_items where line_no = 1") == [("12.50",)]


def test_an_order_of_what_does_not_exist_leaves_nothing(api: Api) -> None:
    user_id, pen = api.user(), api.product()
    items = [{"product_id": pen, "quantity": 1}, {"product_id": str(uuid4()), "quantity": 1}]
    found = problem(api.post("/orders", {"user_id": user_id, "region": "eu", "items": items}), 422, "unknown-reference")
    assert [error["field"] for error in found["errors"]] == ["body.items.1.product_id"]
    body = {"user_id": str(uuid4()), "region": "eu", "items": items[:1]}
    problem(api.post("/orders", body), 422, "unknown-reference")
    assert api.rows("select from orders") == []
    assert api.rows("select from order_items") == []


def test_an_order_moves_through_its_statuses_and_no_other_way(api: Api) -> None:
    order_id = api.order()
    for status in ("paid", "shipped", "delivered"):
        reply = api.put(f"/orders/{order_id}/status", {"status": status})
        assert reply.json()["status"] == status == api.status(order_id)
    assert reply.headers["etag"] == '"4"'
    found = problem(api.put(f"/orders/{order_id}/status", {"status": "paid"}), 409, "conflict")
    assert "final" in found["hint"]
    problem(api.post(f"/orders/{order_id}/cancel"), 409, "conflict")
    assert api.status(order_id) == "delivered"
    problem(api.put(f"/orders/{uuid4()}/status", {"status": "paid"}), 404, "not-found")


def test_orders_are_cancelled_and_deleted(api: Api) -> None:
    user_id = api.user()
    order_id = api.order(user_id)
    assert api.post(f"/orders/{order_id}/cancel").json()["status"] == "cancelled"
    problem(api.post(f"/orders/{order_id}/cancel"), 409, "conflict")
    problem(api.delete(f"/users/{user_id}"), 409, "conflict")
    api.delete(f"/orders/{order_id}").raise_for_status()
    assert api.rows("select from order_items") == []
    api.delete(f"/users/{user_id}").raise_for_status()


def test_concurrent_moves_of_one_order_take_turns(api: Api) -> None:
    order_id = api.order()
    moves = [("PUT", f"/orders/{order_id}/status", {"status": "paid"}, {})] * 20
    cancels = [("POST", f"/orders/{order_id}/cancel", None, {})] * 20
    replies = at_once(api, [*moves, *cancels])
    # paid once at most, then cancelled once: never a move from where the order no longer is.
    won = sorted(reply.json()["status"] for reply in replies if reply.status_code == 200)
    assert won in (["cancelled", "paid"], ["cancelled"])
    assert {reply.status_code for reply in replies} == {200, 409}
    assert api.rows("select status, version from orders") == [("cancelled", 1 + len(won))]


def test_orders_placed_while_their_user_is_deleted_never_lack_a_user(api: Api) -> None:
    pen = api.product()
    for _ in range(5):
        user_id = api.user()
        body = {"user_id": user_id, "region": "eu", "items": [{"product_id": pen, "quantity": 1}]}
        replies = at_once(api, [*[("POST", "/orders", body, {})] * 5, ("DELETE", f"/users/{user_id}", None, {})])
        placed = [reply.status_code for reply in replies[:5]]
        assert set(placed) <= {201, 422}
        assert replies[5].status_code == (409 if 201 in placed else 200)
