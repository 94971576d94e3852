"""Users and their addresses over the command API."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.integration.command_server import Api, problem


def test_a_user_is_registered_renamed_pictured_and_deleted(api: Api) -> None:
    made = api.post("/users", {"name": "  Ada  ", "avatar_url": "https://a.example/1.png"})
    assert made.status_code == 201
    user_id = made.json()["user_id"]
    assert UUID(user_id).version == 7
    assert made.headers["etag"] == '"1"'
    assert made.headers["location"] == f"/users/{user_id}"
    renamed = api.put(f"/users/{user_id}/name", {"name": "Countess 伯爵 🦉"})
    assert renamed.status_code == 200
    assert renamed.headers["etag"] == '"2"'
    api.put(f"/users/{user_id}/avatar", {"avatar_url": None}).raise_for_status()
    assert api.rows("select name, avatar_url, version from users where user_id = %s", user_id) == [
        ("Countess 伯爵 🦉", None, 3)
    ]
    assert api.delete(f"/users/{user_id}").json()["deleted"] is True
    assert api.rows("select from users where user_id = %s", user_id) == []
    problem(api.delete(f"/users/{user_id}"), 404, "not-found")


def test_addresses_come_and_go_without_touching_the_user(api: Api) -> None:
    user_id = api.user()
    body = {"label": "home", "line": "1 Main St", "city": "Ely", "postcode": "CB7"}
    made = api.post(f"/users/{user_id}/addresses", body)
    assert made.status_code == 201
    address_id = made.json()["address_id"]
    assert "etag" not in made.headers
    assert api.rows("select user_id::text, label, line, city, postcode from addresses") == [(user_id, *body.values())]
    problem(api.post(f"/users/{user_id}/addresses", {**body, "address_id": address_id}), 409, "conflict")
    problem(api.delete(f"/users/{uuid4()}/addresses/{address_id}"), 404, "not-found")
    problem(api.post(f"/users/{uuid4()}/addresses", body), 404, "not-found")
    api.delete(f"/users/{user_id}/addresses/{address_id}").raise_for_status()
    assert api.rows("select from addresses") == []
    assert api.rows("select version from users where user_id = %s", user_id) == [(1,)]
    problem(api.post(f"/users/{user_id}/addresses", body, If_Match='"1"'), 400, "bad-request")


def test_an_address_is_changed_whole_and_only_by_its_user(api: Api) -> None:
    user_id = api.user()
    body = {"label": "home", "line": "1 Main St", "city": "Ely", "postcode": "CB7"}
    address_id = api.post(f"/users/{user_id}/addresses", body).json()["address_id"]
    path = f"/users/{user_id}/addresses/{address_id}"
    other = {"label": "work", "line": "2 High St", "city": "Bath", "postcode": "BA1"}
    changed = api.put(path, other)
    assert changed.status_code == 200
    assert changed.json().items() >= {"address_id": address_id, "user_id": user_id, **other}.items()
    assert api.rows("select label, line, city, postcode from addresses") == [tuple(other.values())]
    problem(api.put(path, {"label": "home"}), 422, "invalid")
    problem(api.put(f"/users/{api.user()}/addresses/{address_id}", body), 404, "not-found")
    problem(api.put(f"/users/{user_id}/addresses/{uuid4()}", body), 404, "not-found")
    problem(api.put(path, body, If_Match='"1"'), 400, "bad-request")
    assert api.rows("select label, line, city, postcode from addresses") == [tuple(other.values())]


def test_a_user_with_rows_of_their_own_stays_and_is_told_which(api: Api) -> None:
    user_id = api.user()
    review_id, post_id = api.review(user_id=user_id), api.published(user_id)
    api.put(f"/posts/{api.published()}/likes/{user_id}", None).raise_for_status()
    assert "reviews" in problem(api.delete(f"/users/{user_id}"), 409, "conflict")["hint"]
    api.delete(f"/reviews/{review_id}").raise_for_status()
    assert "posts" in problem(api.delete(f"/users/{user_id}"), 409, "conflict")["hint"]
    api.delete(f"/posts/{post_id}").raise_for_status()
    api.delete(f"/users/{user_id}").raise_for_status()
    assert api.rows("select from likes") == []
    api.trip()
    (rider,) = api.rows("select rider_id from trips")[0]
    assert "stays" in problem(api.delete(f"/users/{rider}"), 409, "conflict")["hint"]
