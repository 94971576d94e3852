"""Requests repeated with an Idempotency-Key happen once, and consistency tokens lie at or after their commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken
from command_api.process.settings import Postgres
from tests.http_client import HTTP
from tests.integration.command_server import Api, at_once, problem, until


def test_each_reply_carries_a_token_at_or_after_its_commit_and_not_beyond_the_flushed_log(api: Api) -> None:
    before = Lsn.parse(api.rows("select pg_current_wal_insert_lsn()::text")[0][0])
    for number in range(20):
        reply = api.post("/users", {"name": f"user {number}"})
        token = ConsistencyToken.parse(reply.headers["consistency-token"]).newest
        assert reply.json()["consistency_token"] == reply.headers["consistency-token"]
        assert before < token <= Lsn.parse(api.rows("select pg_current_wal_flush_lsn()::text")[0][0])
        before = token
    refused = api.delete(f"/users/{uuid4()}")
    assert ConsistencyToken.parse(refused.headers["consistency-token"]).newest >= before


@pytest.mark.parametrize("where", ["database", "conninfo"])
def test_a_token_is_at_or_after_its_commit_where_synchronous_commit_is_off(
    start: Callable[..., Api], database: str, postgres: Postgres, where: str
) -> None:
    conninfo = postgres.command_api.get_secret_value()
    if where == "database":
        with psycopg.connect(database, autocommit=True) as admin:
            admin.execute(f"alter database {admin.info.dbname} set synchronous_commit = off")
    else:
        conninfo = make_conninfo(conninfo, options="-c synchronous_commit=off")
    api = start(conninfo=conninfo)
    with psycopg.connect(conninfo) as plain:
        assert plain.execute("show synchronous_commit").fetchone() == ("off",)
    for number in range(30):
        before = Lsn.parse(api.rows("select pg_current_wal_insert_lsn()::text")[0][0])
        reply = api.post("/users", {"name": f"user {number}"})
        # The commit's record lies after `before`; an unflushed one would leave the flushed position at or below it.
        assert ConsistencyToken.parse(reply.headers["consistency-token"]).newest > before


def test_a_stronger_synchronous_commit_is_kept(start: Callable[..., Api], postgres: Postgres) -> None:
    conninfo = make_conninfo(postgres.command_api.get_secret_value(), options="-c synchronous_commit=remote_apply")
    api = start(conninfo=conninfo)
    api.user()


def test_a_repeated_request_gets_the_first_reply_and_writes_nothing(api: Api) -> None:
    first = api.post("/users", {"name": "Ada"}, Idempotency_Key="k")
    api.user("someone else, so that the log moves on")
    again = api.post("/users", {"name": "Ada"}, Idempotency_Key="k")
    assert again.status_code == 201
    assert again.content == first.content
    for name in ("etag", "location", "consistency-token", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert api.rows("select count(*) from users where name = 'Ada'") == [(1,)]
    assert api.metric("command_api_repeated_requests_total") == 1


def test_a_repeated_move_is_not_a_forbidden_move(api: Api) -> None:
    order_id = api.order()
    first = api.put(f"/orders/{order_id}/status", {"status": "paid"}, Idempotency_Key="k", If_Match='"1"')
    again = api.put(f"/orders/{order_id}/status", {"status": "paid"}, Idempotency_Key="k", If_Match='"1"')
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.status_code == 200


def test_a_refusal_is_repeated_too(api: Api) -> None:
    user_id = str(uuid4())
    first = api.put(f"/users/{user_id}/name", {"name": "Ada"}, Idempotency_Key="k")
    problem(first, 404, "not-found")
    api.post("/users", {"user_id": user_id, "name": "Bob"}).raise_for_status()
    again = api.put(f"/users/{user_id}/name", {"name": "Ada"}, Idempotency_Key="k")
    assert (again.status_code, again.content) == (404, first.content)
    assert api.rows("select name from users where user_id = %s", user_id) == [("Bob",)]


def test_a_key_stands_for_one_request(api: Api) -> None:
    user_id = api.user()
    api.put(f"/users/{user_id}/name", {"name": "Ada"}, Idempotency_Key="k").raise_for_status()
    for other in (
        api.put(f"/users/{user_id}/name", {"name": "Bob"}, Idempotency_Key="k"),
        api.put(f"/users/{user_id}/name", {"name": "Ada"}, Idempotency_Key="k", If_Match='"1"'),
        api.put(f"/users/{uuid4()}/name", {"name": "Ada"}, Idempotency_Key="k"),
        api.post("/users", {"name": "Ada"}, Idempotency_Key="k"),
    ):
        problem(other, 422, "idempotency-key-reused")
    assert api.rows("select version from users where user_id = %s", user_id) == [(2,)]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    problem(api.post("/users", {"name": "Ada"}, Idempotency_Key=key), 400, "bad-request")
    assert api.rows("select from users") == []


def test_the_longest_key_is_taken_and_two_are_not(api: Api) -> None:
    api.post("/users", {"name": "Ada"}, Idempotency_Key="x" * 255).raise_for_status()
    two = api.http.post("/users", json={"name": "Ada"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    problem(two, 400, "bad-request")


def test_an_invalid_command_leaves_its_key_free(api: Api) -> None:
    problem(api.post("/users", {"name": ""}, Idempotency_Key="k"), 422, "invalid")
    api.post("/users", {"name": "Ada"}, Idempotency_Key="k").raise_for_status()


def test_an_expired_key_counts_as_new(api: Api) -> None:
    first = api.post("/users", {"name": "Ada"}, Idempotency_Key="k").json()
    api.admin.execute("update idempotency_keys set expires_at = now() - interval '1 s'")
    second = api.post("/users", {"name": "Bob"}, Idempotency_Key="k").json()
    assert second["user_id"] != first["user_id"]
    assert api.post("/users", {"name": "Bob"}, Idempotency_Key="k").json() == second


def test_a_hundred_duplicates_at_once_are_carried_out_once(api: Api) -> None:
    replies = at_once(api, [("POST", "/users", {"name": "Ada"}, {"Idempotency-Key": "k"})] * 100)
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers["consistency-token"] for reply in replies}) == 1
    assert api.rows("select count(*) from users") == [(1,)]
    assert api.metric("command_api_repeated_requests_total") == 99


def test_duplicates_of_a_refused_request_at_once_get_one_reply(api: Api) -> None:
    path = f"/users/{uuid4()}"
    replies = at_once(api, [("DELETE", path, None, {"Idempotency-Key": "k"})] * 50)
    assert {reply.status_code for reply in replies} == {404}
    assert len({reply.content for reply in replies}) == 1


def test_a_duplicate_waits_for_the_first_and_gets_its_reply(api: Api) -> None:
    user_id = api.user()
    holder = psycopg.connect(api.admin.info.dsn, password=api.admin.info.password)
    holder.execute("select from users where user_id = %s for update", (user_id,))
    replies: list[httpx.Response] = []

    def rename() -> None:
        reply = HTTP.put(
            f"{api.url}/users/{user_id}/name", json={"name": "Eve"}, headers={"Idempotency-Key": "k"}, timeout=20
        )
        replies.append(reply)

    threads = [threading.Thread(target=rename) for _ in range(2)]
    for thread in threads:
        thread.start()
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    until(lambda: api.rows(waiting) == [(2,)])
    holder.rollback()
    holder.close()
    for thread in threads:
        thread.join(20)
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].content == replies[1].content
    assert api.rows("select version from users where user_id = %s", user_id) == [(2,)]
