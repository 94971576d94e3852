"""What the command API refuses before anything is written: values, JSON, media types, sizes, paths."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.command_server import PROBLEM, Api, problem

GOOD_ID = "01938d7e-5c3a-7b4e-9f00-3a5b1c2d4e6f"


INVALID = [
    ("/users", b'{"name":"a\\u0000b"}', "body.name"),
    ("/users", b'{"name":"\\ud800"}', "body.name"),
    ("/users", b'{"name":""}', "body.name"),
    ("/users", b'{"name":"   "}', "body.name"),
    ("/users", b'{"name":"' + b"x" * 201 + b'"}', "body.name"),
    ("/users", b'{"name":7}', "body.name"),
    ("/users", b'{"name":null}', "body.name"),
    ("/users", b"{}", "body.name"),
    ("/users", b"", "body"),
    ("/users", b"[]", "body"),
    ("/users", b'"text"', "body"),
    ("/users", b"null", "body"),
    ("/users", b'{"name":"Ada","admin":true}', "body.admin"),
    ("/users", b'{"name":"Ada","user_id":"7"}', "body.user_id"),
    ("/users", b'{"name":"Ada","user_id":"' + GOOD_ID.encode() + b'0"}', "body.user_id"),
    ("/users", b'{"name":"Ada","avatar_url":"javascript:x"}', "body.avatar_url"),
    ("/products", b'{"name":"Pen","price":"1.234"}', "body.price"),
    ("/products", b'{"name":"Pen","price":"12345678901.00"}', "body.price"),
    ("/products", b'{"name":"Pen","price":"1e400"}', "body.price"),
    ("/products", b'{"name":"Pen","price":1e400}', "body.price"),
    ("/products", b'{"name":"Pen","price":"-0.01"}', "body.price"),
    ("/products", b'{"name":"Pen","price":"NaN"}', "body.price"),
    ("/products", b'{"name":"Pen","price":NaN}', "body.price"),
    ("/products", b'{"name":"Pen","price":Infinity}', "body.price"),
    ("/products", b'{"name":"Pen","price":"Infinity"}', "body.price"),
    ("/products", b'{"name":"Pen","price":true}', "body.price"),
    ("/products", b'{"name":"Pen","price":"1","description":"\\u0000"}', "body.description"),
    ("/orders", b'{"user_id":"%s","region":"eu","items":[]}' % GOOD_ID.encode(), "body.items"),
    (
        "/orders",
        b'{"user_id":"%s","region":"eu","items":[{"product_id":"%s","quantity":0}]}' % ((GOOD_ID.encode(),) * 2),
        "body.items.0.quantity",
    ),
    (
        "/orders",
        b'{"user_id":"%s","region":"eu","items":[{"product_id":"%s","quantity":2147483648}]}'
        % ((GOOD_ID.encode(),) * 2),
        "body.items.0.quantity",
    ),
    (
        "/orders",
        b'{"user_id":"%s","region":"eu","items":[{"product_id":"%s","quantity":1.5}]}' % ((GOOD_ID.encode(),) * 2),
        "body.items.0.quantity",
    ),
    ("/categories", b'{"name":" "}', "body.name"),
    ("/reviews", b'{"product_id":"%s","user_id":"%s","rating":0}' % ((GOOD_ID.encode(),) * 2), "body.rating"),
    ("/reviews", b'{"product_id":"%s","user_id":"%s","rating":6}' % ((GOOD_ID.encode(),) * 2), "body.rating"),
    ("/reviews", b'{"product_id":"%s","user_id":"%s","rating":4.5}' % ((GOOD_ID.encode(),) * 2), "body.rating"),
    ("/reviews", b'{"product_id":"%s","user_id":"%s","rating":true}' % ((GOOD_ID.encode(),) * 2), "body.rating"),
    (
        "/reviews",
        b'{"product_id":"%s","user_id":"%s","rating":4,"body":"\\u0000"}' % ((GOOD_ID.encode(),) * 2),
        "body.body",
    ),
    ("/drivers", b"{}", "body.name"),
    ("/trips", b'{"driver_id":"%s","rider_id":"%s","city":""}' % ((GOOD_ID.encode(),) * 2), "body.city"),
    (f"/trips/{GOOD_ID}/finish", b'{"fare":"-1"}', "body.fare"),
    (f"/trips/{GOOD_ID}/finish", b"{}", "body.fare"),
    ("/posts", b'{"author_id":"%s","body":" "}' % GOOD_ID.encode(), "body.body"),
    (f"/orders/{GOOD_ID}/status", b'{"status":"lost"}', "body.status"),
    ("/orders/7/status", b'{"status":"paid"}', "path.order_id"),
]


def test_invalid_values_are_named_with_a_remedy_and_nothing_is_written(api: Api) -> None:
    for path, body, field in INVALID:
        method = "PUT" if path.endswith("/status") else "POST"
        reply = api.http.request(method, path, content=body, headers={"Content-Type": "application/json"})
        found = problem(reply, 422, "invalid")
        assert field in [error["field"] for error in found["errors"]], (body, found)
        for error in found["errors"]:
            assert error["message"], body
            assert error["remedy"], body
            assert "{" not in error["remedy"], body
    for table in ("users", "products", "orders", "reviews", "drivers", "trips", "posts", "idempotency_keys"):
        assert api.rows(f"select from {table}") == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"name":',
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"name":' + b"9" * 5_000 + b"}",
        b'{"name":"\xff"}',
    ],
)
def test_what_is_no_json_is_a_problem_and_never_a_fault(api: Api, body: bytes) -> None:
    reply = api.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (400, 422), reply.text
    assert reply.headers["content-type"] == PROBLEM


def test_other_media_types_encodings_and_sizes(start: Callable[..., Api]) -> None:
    api = start(max_body_bytes=2_000)
    json = {"Content-Type": "application/json"}
    problem(
        api.http.post("/users", content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type"
    )
    problem(api.http.post("/users", content=b"{}"), 415, "unsupported-media-type")
    gzip = {**json, "Content-Encoding": "gzip"}
    problem(api.http.post("/users", content=b"{}", headers=gzip), 415, "unsupported-media-type")
    problem(api.http.post("/users", content=b"x" * 2_001, headers=json), 413, "too-large")
    problem(api.http.post("/users", content=iter([b"x" * 1_000] * 3), headers=json), 413, "too-large")
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert api.http.post("/users", content=b'{"name":"Ada"}', headers=charset).status_code == 201
    parts = iter([b'{"name":', b'"Bob"}'])
    assert api.http.post("/users", content=parts, headers=json).status_code == 201


def test_unknown_paths_and_methods(api: Api) -> None:
    problem(api.http.get("/nothing/here"), 404, "no-such-path")
    reply = api.http.get("/users")
    problem(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == "POST"
