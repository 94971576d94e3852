"""Posts and likes over the command API: a like is there or not, however often it is asked for."""

from __future__ import annotations

from uuid import UUID, uuid4

from command_api.process.consistency import ConsistencyToken
from tests.integration.command_server import Api, at_once, problem


def test_a_post_is_published_edited_and_deleted_with_its_likes(api: Api) -> None:
    author_id = api.user()
    made = api.post("/posts", {"author_id": author_id, "body": " hello "})
    assert made.status_code == 201
    post_id = made.json()["post_id"]
    assert UUID(post_id).version == 7
    assert made.headers["location"] == f"/posts/{post_id}"
    problem(api.post("/posts", {"post_id": post_id, "author_id": author_id, "body": "x"}), 409, "conflict")
    edited = api.put(f"/posts/{post_id}/body", {"body": "good bye"})
    assert (edited.json()["body"], edited.headers["etag"]) == ("good bye", '"2"')
    assert edited.json()["created_at"] == made.json()["created_at"]
    api.put(f"/posts/{post_id}/likes/{author_id}", None).raise_for_status()
    api.delete(f"/posts/{post_id}", If_Match='"2"').raise_for_status()
    assert api.rows("select from posts union all select from likes") == []
    problem(api.delete(f"/posts/{post_id}"), 404, "not-found")
    problem(api.put(f"/posts/{post_id}/body", {"body": "x"}), 404, "not-found")
    problem(api.post("/posts", {"author_id": str(uuid4()), "body": "x"}), 422, "unknown-reference")


def test_to_like_twice_writes_one_row_once(api: Api) -> None:
    post_id, user_id = api.published(), api.user()
    path = f"/posts/{post_id}/likes/{user_id}"
    first = api.put(path, None)
    assert first.status_code == 200
    assert first.json().items() >= {"post_id": post_id, "user_id": user_id, "liked": True}.items()
    rows = api.rows("select created_at, xmin::text, xmax::text from likes")
    post = api.rows("select xmin::text, xmax::text from posts")
    again = api.put(path, None)
    assert (again.status_code, again.json()["liked"]) == (200, True)
    assert api.rows("select created_at, xmin::text, xmax::text from likes") == rows
    assert api.rows("select xmin::text, xmax::text from posts") == post
    assert (
        ConsistencyToken.parse(again.headers["consistency-token"]).newest
        >= ConsistencyToken.parse(first.headers["consistency-token"]).newest
    )


def test_to_unlike_takes_the_like_once_and_is_content_without_one(api: Api) -> None:
    path = f"/posts/{api.published()}/likes/{api.user()}"
    api.put(path, None).raise_for_status()
    for _ in range(2):
        taken = api.delete(path)
        assert (taken.status_code, taken.json()["liked"]) == (200, False)
        assert api.rows("select from likes") == []


def test_likes_of_or_by_what_does_not_exist(api: Api) -> None:
    post_id, user_id = api.published(), api.user()
    for path in (f"/posts/{uuid4()}/likes/{user_id}", f"/posts/{post_id}/likes/{uuid4()}"):
        problem(api.put(path, None), 404, "not-found")
        problem(api.delete(path), 404, "not-found")
    problem(api.put(f"/posts/{post_id}/likes/{user_id}", None, If_Match='"1"'), 400, "bad-request")
    assert api.rows("select from likes") == []


def test_likes_at_once_are_counted_once_each(api: Api) -> None:
    post_id, users = api.published(), [api.user() for _ in range(10)]
    paths = [f"/posts/{post_id}/likes/{user}" for user in users] * 10
    replies = at_once(api, [("PUT", path, None, {}) for path in paths])
    assert {reply.status_code for reply in replies} == {200}
    assert sorted(user for (user,) in api.rows("select user_id::text from likes")) == sorted(users)


def test_likes_while_their_post_is_deleted_leave_none_behind(api: Api) -> None:
    users = [api.user() for _ in range(8)]
    for _ in range(5):
        post_id = api.published()
        likes = [("PUT", f"/posts/{post_id}/likes/{user}", None, {}) for user in users]
        replies = at_once(api, [*likes, ("DELETE", f"/posts/{post_id}", None, {})])
        assert {reply.status_code for reply in replies} <= {200, 404}
        assert replies[-1].status_code == 200
    assert api.rows("select from likes") == []
