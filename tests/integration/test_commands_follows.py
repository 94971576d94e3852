"""Follows and heartbeats over the command API: an edge is there or not, and who is seen again and again writes little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from command_api.process.consistency import ConsistencyToken
from tests.integration.command_server import Api, at_once, problem

FOLLOWS = "select follower_id::text, followee_id::text from follows"


def test_to_follow_twice_writes_one_row_once(api: Api) -> None:
    reader, author = api.user(), api.user("Bob")
    path = f"/users/{reader}/following/{author}"
    first = api.put(path, None)
    assert first.status_code == 200
    assert first.json().items() >= {"follower_id": reader, "followee_id": author, "following": True}.items()
    assert api.rows(FOLLOWS) == [(reader, author)]
    written = api.rows("select since, xmin::text, xmax::text from follows"), api.rows("select xmax::text from users")
    again = api.put(path, None)
    assert (again.status_code, again.json()["following"]) == (200, True)
    assert written == (
        api.rows("select since, xmin::text, xmax::text from follows"),
        api.rows("select xmax::text from users"),
    )
    assert (
        ConsistencyToken.parse(again.headers["consistency-token"]).newest
        >= ConsistencyToken.parse(first.headers["consistency-token"]).newest
    )


def test_to_unfollow_is_content_where_nobody_follows(api: Api) -> None:
    reader, author = api.user(), api.user("Bob")
    path = f"/users/{reader}/following/{author}"
    api.put(path, None).raise_for_status()
    for _ in range(2):
        gone = api.delete(path)
        assert (gone.status_code, gone.json()["following"]) == (200, False)
        assert api.rows(FOLLOWS) == []


def test_a_follower_can_be_removed_by_whom_they_follow(api: Api) -> None:
    reader, author, other = api.user(), api.user("Bob"), api.user("Eve")
    for followee in (author, other):
        api.put(f"/users/{reader}/following/{followee}", None).raise_for_status()
    removed = api.delete(f"/users/{author}/followers/{reader}")
    assert removed.json().items() >= {"follower_id": reader, "followee_id": author, "following": False}.items()
    assert api.rows(FOLLOWS) == [(reader, other)]


def test_all_followers_are_removed_at_once_and_nobody_elses(api: Api) -> None:
    author, readers = api.user("Bob"), [api.user() for _ in range(5)]
    for reader in readers:
        api.put(f"/users/{reader}/following/{author}", None).raise_for_status()
    api.put(f"/users/{author}/following/{readers[0]}", None).raise_for_status()
    removed = api.delete(f"/users/{author}/followers", Idempotency_Key="k")
    assert removed.json()["removed"] == 5
    assert api.rows(FOLLOWS) == [(author, readers[0])]
    assert api.delete(f"/users/{author}/followers", Idempotency_Key="k").content == removed.content
    assert api.delete(f"/users/{author}/followers").json()["removed"] == 0


def test_nobody_follows_themself_or_who_is_not_there(api: Api) -> None:
    user, nobody = api.user(), uuid4()
    problem(api.put(f"/users/{user}/following/{user}", None), 409, "conflict")
    for path in (f"/users/{user}/following/{nobody}", f"/users/{nobody}/following/{user}"):
        problem(api.put(path, None), 404, "not-found")
        problem(api.delete(path), 404, "not-found")
    problem(api.delete(f"/users/{nobody}/followers"), 404, "not-found")
    problem(api.put(f"/users/{user}/following/{api.user()}", None, If_Match='"1"'), 400, "bad-request")
    assert api.rows(FOLLOWS) == []


def test_follows_go_with_either_user(api: Api) -> None:
    ada, bob, eve = api.user(), api.user("Bob"), api.user("Eve")
    for reader, author in ((ada, bob), (bob, ada), (eve, ada), (eve, bob)):
        api.put(f"/users/{reader}/following/{author}", None).raise_for_status()
    api.delete(f"/users/{ada}").raise_for_status()
    assert api.rows(FOLLOWS) == [(eve, bob)]


def test_two_who_follow_each_other_at_once_both_do(api: Api) -> None:
    users = [api.user() for _ in range(6)]
    pairs = sorted((a, b) for a in users for b in users if a != b)
    requests = [("PUT", f"/users/{a}/following/{b}", None, {}) for a, b in pairs] * 3
    assert {reply.status_code for reply in at_once(api, requests)} == {200}
    assert sorted(api.rows(FOLLOWS)) == pairs


def test_a_heartbeat_is_written_once_a_minute_unless_forced(api: Api) -> None:
    user = api.user()
    path = f"/users/{user}/last-seen"
    first = api.put(path, {})
    assert datetime.now(UTC) - datetime.fromisoformat(first.json()["last_seen_at"]) < timedelta(seconds=30)
    row = api.rows("select xmin::text, version from users")
    again = api.put(path, {})
    assert (again.status_code, again.json()["last_seen_at"]) == (200, first.json()["last_seen_at"])
    assert api.rows("select xmin::text, version from users") == row
    assert api.put(path, {"force": True}).json()["last_seen_at"] > first.json()["last_seen_at"]
    assert api.rows("select version from users") == [(1,)], "the version is of what a user is, not of who is there"
    api.rows("update users set last_seen_at = now() - interval '61 seconds' returning user_id")
    row = api.rows("select xmin::text from users")
    api.put(path, {}).raise_for_status()
    assert api.rows("select xmin::text from users") != row
    problem(api.put(f"/users/{uuid4()}/last-seen", {}), 404, "not-found")


def test_heartbeats_at_once_are_written_once(api: Api) -> None:
    user = api.user()
    replies = at_once(api, [("PUT", f"/users/{user}/last-seen", {}, {})] * 20)
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["last_seen_at"] for reply in replies}) == 1
