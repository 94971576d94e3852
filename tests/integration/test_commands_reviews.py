"""Reviews over the command API: one for each user and product, also when many are written at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID, uuid4

from tests.integration.command_server import Api, at_once, problem


def test_a_review_is_written_edited_and_deleted(api: Api) -> None:
    user_id, product_id = api.user(), api.product()
    made = api.post("/reviews", {"product_id": product_id, "user_id": user_id, "rating": 5, "body": "Très bien 🖊"})
    assert made.status_code == 201
    review = made.json()
    assert UUID(review["review_id"]).version == 7
    assert made.headers["location"] == f"/reviews/{review['review_id']}"
    assert made.headers["etag"] == '"1"'
    assert review["created_at"].endswith("Z")
    path = f"/reviews/{review['review_id']}"
    edited = api.put(path, {"rating": 2, "body": ""}, If_Match='"1"')
    assert edited.headers["etag"] == '"2"'
    assert edited.json()["created_at"] == review["created_at"]
    assert api.rows("select product_id::text, user_id::text, rating, body, version from reviews") == [
        (product_id, user_id, 2, "", 2)
    ]
    assert api.delete(path).json()["deleted"] is True
    problem(api.delete(path), 404, "not-found")
    problem(api.put(path, {"rating": 2, "body": ""}), 404, "not-found")
    assert api.rows("select from reviews") == []


def test_a_second_review_of_a_product_is_a_conflict_that_names_the_first(api: Api) -> None:
    user_id, product_id = api.user(), api.product()
    first = api.review(product_id, user_id, rating=5)
    again = {"product_id": product_id, "user_id": user_id, "rating": 1}
    assert first in problem(api.post("/reviews", again), 409, "conflict")["hint"]
    taken = {"review_id": first, "product_id": api.product(), "user_id": user_id, "rating": 1}
    assert "review_id" in problem(api.post("/reviews", taken), 409, "conflict")["hint"]
    assert api.rows("select rating from reviews") == [(5,)]
    api.delete(f"/reviews/{first}").raise_for_status()
    api.post("/reviews", again).raise_for_status()


def test_a_review_of_or_by_what_does_not_exist_leaves_nothing(api: Api) -> None:
    body: dict[str, Any] = {"product_id": api.product(), "user_id": api.user(), "rating": 3}
    for column in ("product_id", "user_id"):
        problem(api.post("/reviews", {**body, column: str(uuid4())}), 422, "unknown-reference")
    assert api.rows("select from reviews") == []


def test_of_one_users_reviews_at_once_one_is_written(api: Api) -> None:
    body = {"product_id": api.product(), "user_id": api.user(), "rating": 3}
    replies = at_once(api, [("POST", "/reviews", body, {})] * 30)
    assert Counter(reply.status_code for reply in replies) == {201: 1, 409: 29}
    assert api.rows("select count(*) from reviews") == [(1,)]


def test_a_thousand_reviewers_of_one_product_with_edits_and_deletes_leave_what_the_replies_say(
    start: Callable[..., Api],
) -> None:
    api = start(timeout_ms=60_000)  # a thousand wait for ten connections: without a 503, however slow the machine
    product_id = api.product()
    users = [str(uuid4()) for _ in range(1_000)]
    with api.admin.cursor() as cursor:
        cursor.executemany("insert into users (user_id, name) values (%s, 'Ada')", [(user,) for user in users])
    rng = Random(4)
    ratings = {user: rng.randint(1, 5) for user in users}
    bodies = [{"product_id": product_id, "user_id": user, "rating": ratings[user]} for user in users]
    written = at_once(api, [("POST", "/reviews", body, {}) for body in bodies])
    assert {reply.status_code for reply in written} == {201}
    changes: list[tuple[str, str, Any, dict[str, str]]] = []
    for reply in written:
        review = reply.json()
        path, roll = f"/reviews/{review['review_id']}", rng.random()
        if roll < 0.3:
            ratings[review["user_id"]] = rating = rng.randint(1, 5)
            changes.append(("PUT", path, {"rating": rating, "body": "again"}, {}))
        elif roll < 0.5:
            del ratings[review["user_id"]]
            changes.append(("DELETE", path, None, {}))
    assert {reply.status_code for reply in at_once(api, changes)} == {200}
    assert dict(api.rows("select rating, count(*) from reviews group by 1")) == Counter(ratings.values())
