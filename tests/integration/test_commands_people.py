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
