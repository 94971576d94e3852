"""If-Match over the command API: of those who act on one version, one wins."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.integration.command_server import Api, at_once, problem


def test_if_match_lets_only_its_version_through(api: Api) -> None:
    user_id = api.user()
    path = f"/users/{user_id}/name"
    for tag in ('"1"', '"7", "2"', "*"):
        api.put(path, {"name": "Bob"}, If_Match=tag).raise_for_status()
    for tag in ('"3"', '"abc"', 'W/"4"', '"99999999999999999999"', '"04"', '""'):
        found = problem(api.put(path, {"name": "Eve"}, If_Match=tag), 412, "version-mismatch")
        assert '"4"' in found["hint"]
    for tag in ("4", "", '"4', '"4";', "'4'", "W/4", '"4""4"'):
        problem(api.put(path, {"name": "Eve"}, If_Match=tag), 400, "bad-request")
    assert api.rows("select name, version from users where user_id = %s", user_id) == [("Bob", 4)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/users/{user}/avatar", {"avatar_url": None}),
        ("DELETE", "/users/{user}", None),
        ("PUT", "/products/{product}/price", {"price": "1"}),
        ("PUT", "/products/{product}/name", {"name": "Ink"}),
        ("PUT", "/products/{product}/description", {"description": "blue"}),
        ("PUT", "/products/{product}/category", {"category_id": None}),
        ("PUT", "/orders/{order}/status", {"status": "paid"}),
        ("POST", "/orders/{order}/cancel", None),
        ("DELETE", "/orders/{order}", None),
        ("PUT", "/reviews/{review}", {"rating": 1, "body": "worse"}),
        ("DELETE", "/reviews/{review}", None),
        ("PUT", "/drivers/{driver}/name", {"name": "Eve"}),
        ("POST", "/trips/{trip}/finish", {"fare": "1"}),
        ("PUT", "/posts/{post}/body", {"body": "again"}),
        ("DELETE", "/posts/{post}", None),
    ],
)
def test_every_versioned_command_honours_if_match(api: Api, method: str, path: str, body: Any) -> None:
    make = {
        "user": api.user,
        "product": api.product,
        "order": api.order,
        "review": api.review,
        "driver": api.driver,
        "trip": api.trip,
        "post": api.published,
    }
    what = path.partition("{")[2].partition("}")[0]
    path = path.format(**{what: make[what]()})
    problem(api.http.request(method, path, json=body, headers={"If-Match": '"2"'}), 412, "version-mismatch")
    api.http.request(method, path, json=body, headers={"If-Match": '"1"'}).raise_for_status()


def test_of_concurrent_commands_on_one_version_one_wins(api: Api) -> None:
    user_id = api.user()
    replies = at_once(
        api, [("PUT", f"/users/{user_id}/name", {"name": f"name {n}"}, {"If-Match": '"1"'}) for n in range(50)]
    )
    assert Counter(reply.status_code for reply in replies) == {200: 1, 412: 49}
    winner = next(reply for reply in replies if reply.status_code == 200).json()["name"]
    assert api.rows("select name, version from users where user_id = %s", user_id) == [(winner, 2)]
