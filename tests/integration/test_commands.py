"""The command API over HTTP on a real Postgres: effects, refusals, keys, versions, tokens, and a database that goes away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from command_api.lsn import Lsn
from command_api.process.settings import CommandApi, Postgres, Settings
from command_api.serve import prepare

PROBLEM = "application/problem+json"


@dataclass
class Api:
    """A running server and its database, looked at from outside."""

    url: str
    http: httpx.Client
    admin: psycopg.Connection

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.admin.execute(query, parameters).fetchall()

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=_headers(headers))

    def put(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.put(path, json=body, headers=_headers(headers))

    def delete(self, path: str, **headers: str) -> httpx.Response:
        return self.http.delete(path, headers=_headers(headers))

    def user(self, name: str = "Ada") -> str:
        return str(self.post("/users", {"name": name}).raise_for_status().json()["user_id"])

    def product(self, price: str = "12.50") -> str:
        return str(self.post("/products", {"name": "Pen", "price": price}).raise_for_status().json()["product_id"])

    def order(self, user_id: str | None = None) -> str:
        body = {
            "user_id": user_id or self.user(),
            "region": "eu",
            "items": [{"product_id": self.product(), "quantity": 2}],
        }
        return str(self.post("/orders", body).raise_for_status().json()["order_id"])

    def status(self, order_id: str) -> str:
        return str(self.rows("select status from orders where order_id = %s", order_id)[0][0])

    def metric(self, line_start: str) -> float:
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(line_start):
                return float(line.rpartition(" ")[2])
        return 0.0


def _headers(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def start(database: str, postgres: Postgres) -> Iterator[Callable[..., Api]]:
    """Start servers on this test's database; keyword arguments are the command API's settings, or `conninfo`."""
    stops: list[Callable[[], None]] = []

    def run(*, conninfo: str | None = None, **own: Any) -> Api:
        section = postgres if conninfo is None else Postgres(admin=database, command_api=conninfo)  # type: ignore[arg-type]
        server, listener = prepare(Settings(postgres=section, command_api=CommandApi(port=0, **own)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        http = httpx.Client(base_url=url, timeout=30)
        admin = psycopg.connect(database, autocommit=True)

        def stop() -> None:
            http.close()
            admin.close()
            server.should_exit = True
            thread.join(20)
            listener.close()
            assert not thread.is_alive()

        stops.append(stop)
        _until(lambda: server.started)
        return Api(url=url, http=http, admin=admin)

    yield run
    for stop in stops:
        stop()


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start()


def _problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:lockstep:problem:{kind}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["hint"]
    return problem


# --- commands ---------------------------------------------------------------------------------------------------------


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
    _problem(api.delete(f"/users/{user_id}"), 404, "not-found")


def test_ids_may_be_given_and_are_taken_once(api: Api) -> None:
    user_id, product_id = str(uuid4()), str(uuid4())
    assert api.post("/users", {"user_id": user_id, "name": "Ada"}).json()["user_id"] == user_id
    _problem(api.post("/users", {"user_id": user_id, "name": "Bob"}), 409, "conflict")
    assert api.rows("select name from users where user_id = %s", user_id) == [("Ada",)]
    api.post("/products", {"product_id": product_id, "name": "Pen", "price": "1"}).raise_for_status()
    _problem(api.post("/products", {"product_id": product_id, "name": "Ink", "price": "2"}), 409, "conflict")
    order_id = api.order(user_id)
    order = {
        "order_id": order_id,
        "user_id": user_id,
        "region": "eu",
        "items": [{"product_id": product_id, "quantity": 9}],
    }
    _problem(api.post("/orders", order), 409, "conflict")
    assert api.rows("select quantity from order_items where order_id = %s", order_id) == [(2,)]


def test_addresses_come_and_go_without_touching_the_user(api: Api) -> None:
    user_id = api.user()
    body = {"label": "home", "line": "1 Main St", "city": "Ely", "postcode": "CB7"}
    made = api.post(f"/users/{user_id}/addresses", body)
    assert made.status_code == 201
    address_id = made.json()["address_id"]
    assert "etag" not in made.headers
    assert api.rows("select user_id::text, label, line, city, postcode from addresses") == [(user_id, *body.values())]
    _problem(api.post(f"/users/{user_id}/addresses", {**body, "address_id": address_id}), 409, "conflict")
    _problem(api.delete(f"/users/{uuid4()}/addresses/{address_id}"), 404, "not-found")
    _problem(api.post(f"/users/{uuid4()}/addresses", body), 404, "not-found")
    api.delete(f"/users/{user_id}/addresses/{address_id}").raise_for_status()
    assert api.rows("select from addresses") == []
    assert api.rows("select version from users where user_id = %s", user_id) == [(1,)]
    _problem(api.post(f"/users/{user_id}/addresses", body, If_Match='"1"'), 400, "bad-request")


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
    problem = _problem(
        api.post("/orders", {"user_id": user_id, "region": "eu", "items": items}), 422, "unknown-reference"
    )
    assert [error["field"] for error in problem["errors"]] == ["body.items.1.product_id"]
    body = {"user_id": str(uuid4()), "region": "eu", "items": items[:1]}
    _problem(api.post("/orders", body), 422, "unknown-reference")
    assert api.rows("select from orders") == []
    assert api.rows("select from order_items") == []


def test_an_order_moves_through_its_statuses_and_no_other_way(api: Api) -> None:
    order_id = api.order()
    for status in ("paid", "shipped", "delivered"):
        reply = api.put(f"/orders/{order_id}/status", {"status": status})
        assert reply.json()["status"] == status == api.status(order_id)
    assert reply.headers["etag"] == '"4"'
    problem = _problem(api.put(f"/orders/{order_id}/status", {"status": "paid"}), 409, "conflict")
    assert "final" in problem["hint"]
    _problem(api.post(f"/orders/{order_id}/cancel"), 409, "conflict")
    assert api.status(order_id) == "delivered"
    _problem(api.put(f"/orders/{uuid4()}/status", {"status": "paid"}), 404, "not-found")


def test_orders_are_cancelled_and_deleted(api: Api) -> None:
    user_id = api.user()
    order_id = api.order(user_id)
    assert api.post(f"/orders/{order_id}/cancel").json()["status"] == "cancelled"
    _problem(api.post(f"/orders/{order_id}/cancel"), 409, "conflict")
    _problem(api.delete(f"/users/{user_id}"), 409, "conflict")
    api.delete(f"/orders/{order_id}").raise_for_status()
    assert api.rows("select from order_items") == []
    api.delete(f"/users/{user_id}").raise_for_status()


# --- consistency tokens -----------------------------------------------------------------------------------------------


def test_each_reply_carries_a_token_at_or_after_its_commit_and_not_beyond_the_flushed_log(api: Api) -> None:
    before = Lsn.parse(api.rows("select pg_current_wal_insert_lsn()::text")[0][0])
    for number in range(20):
        reply = api.post("/users", {"name": f"user {number}"})
        token = Lsn.parse(reply.headers["consistency-token"])
        assert reply.json()["consistency_token"] == str(token)
        assert before < token <= Lsn.parse(api.rows("select pg_current_wal_flush_lsn()::text")[0][0])
        before = token
    refused = api.delete(f"/users/{uuid4()}")
    assert Lsn.parse(refused.headers["consistency-token"]) >= before


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
        assert Lsn.parse(reply.headers["consistency-token"]) > before


def test_a_stronger_synchronous_commit_is_kept(start: Callable[..., Api], postgres: Postgres) -> None:
    conninfo = make_conninfo(postgres.command_api.get_secret_value(), options="-c synchronous_commit=remote_apply")
    api = start(conninfo=conninfo)
    api.user()


# --- idempotency ------------------------------------------------------------------------------------------------------


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
    _problem(first, 404, "not-found")
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
        _problem(other, 422, "idempotency-key-reused")
    assert api.rows("select version from users where user_id = %s", user_id) == [(2,)]


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    _problem(api.post("/users", {"name": "Ada"}, Idempotency_Key=key), 400, "bad-request")
    assert api.rows("select from users") == []


def test_the_longest_key_is_taken_and_two_are_not(api: Api) -> None:
    api.post("/users", {"name": "Ada"}, Idempotency_Key="x" * 255).raise_for_status()
    two = api.http.post("/users", json={"name": "Ada"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    _problem(two, 400, "bad-request")


def test_an_invalid_command_leaves_its_key_free(api: Api) -> None:
    _problem(api.post("/users", {"name": ""}, Idempotency_Key="k"), 422, "invalid")
    api.post("/users", {"name": "Ada"}, Idempotency_Key="k").raise_for_status()


def test_an_expired_key_counts_as_new(api: Api) -> None:
    first = api.post("/users", {"name": "Ada"}, Idempotency_Key="k").json()
    api.admin.execute("update idempotency_keys set expires_at = now() - interval '1 s'")
    second = api.post("/users", {"name": "Bob"}, Idempotency_Key="k").json()
    assert second["user_id"] != first["user_id"]
    assert api.post("/users", {"name": "Bob"}, Idempotency_Key="k").json() == second


def _at_once(api: Api, requests: list[tuple[str, str, Any, dict[str, str]]]) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=api.url, timeout=60, limits=limits) as client:
            return await asyncio.gather(
                *(client.request(method, path, json=body, headers=headers) for method, path, body, headers in requests)
            )

    return asyncio.run(run())


def test_a_hundred_duplicates_at_once_are_carried_out_once(api: Api) -> None:
    replies = _at_once(api, [("POST", "/users", {"name": "Ada"}, {"Idempotency-Key": "k"})] * 100)
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers["consistency-token"] for reply in replies}) == 1
    assert api.rows("select count(*) from users") == [(1,)]
    assert api.metric("command_api_repeated_requests_total") == 99


def test_duplicates_of_a_refused_request_at_once_get_one_reply(api: Api) -> None:
    path = f"/users/{uuid4()}"
    replies = _at_once(api, [("DELETE", path, None, {"Idempotency-Key": "k"})] * 50)
    assert {reply.status_code for reply in replies} == {404}
    assert len({reply.content for reply in replies}) == 1


def test_a_duplicate_waits_for_the_first_and_gets_its_reply(api: Api) -> None:
    user_id = api.user()
    holder = psycopg.connect(api.admin.info.dsn, password=api.admin.info.password)
    holder.execute("select from users where user_id = %s for update", (user_id,))
    replies: list[httpx.Response] = []

    def rename() -> None:
        reply = httpx.put(
            f"{api.url}/users/{user_id}/name", json={"name": "Eve"}, headers={"Idempotency-Key": "k"}, timeout=20
        )
        replies.append(reply)

    threads = [threading.Thread(target=rename) for _ in range(2)]
    for thread in threads:
        thread.start()
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    _until(lambda: api.rows(waiting) == [(2,)])
    holder.rollback()
    holder.close()
    for thread in threads:
        thread.join(20)
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].content == replies[1].content
    assert api.rows("select version from users where user_id = %s", user_id) == [(2,)]


# --- versions ---------------------------------------------------------------------------------------------------------


def test_if_match_lets_only_its_version_through(api: Api) -> None:
    user_id = api.user()
    path = f"/users/{user_id}/name"
    for tag in ('"1"', '"7", "2"', "*"):
        api.put(path, {"name": "Bob"}, If_Match=tag).raise_for_status()
    for tag in ('"3"', '"abc"', 'W/"4"', '"99999999999999999999"', '"04"', '""'):
        problem = _problem(api.put(path, {"name": "Eve"}, If_Match=tag), 412, "version-mismatch")
        assert '"4"' in problem["hint"]
    for tag in ("4", "", '"4', '"4";', "'4'", "W/4", '"4""4"'):
        _problem(api.put(path, {"name": "Eve"}, If_Match=tag), 400, "bad-request")
    assert api.rows("select name, version from users where user_id = %s", user_id) == [("Bob", 4)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/users/{user}/avatar", {"avatar_url": None}),
        ("DELETE", "/users/{user}", None),
        ("PUT", "/products/{product}/price", {"price": "1"}),
        ("PUT", "/orders/{order}/status", {"status": "paid"}),
        ("POST", "/orders/{order}/cancel", None),
        ("DELETE", "/orders/{order}", None),
    ],
)
def test_every_versioned_command_honours_if_match(api: Api, method: str, path: str, body: Any) -> None:
    path = path.format(user=api.user(), product=api.product(), order=api.order())
    _problem(api.http.request(method, path, json=body, headers={"If-Match": '"2"'}), 412, "version-mismatch")
    api.http.request(method, path, json=body, headers={"If-Match": '"1"'}).raise_for_status()


def test_of_concurrent_commands_on_one_version_one_wins(api: Api) -> None:
    user_id = api.user()
    replies = _at_once(
        api, [("PUT", f"/users/{user_id}/name", {"name": f"name {n}"}, {"If-Match": '"1"'}) for n in range(50)]
    )
    assert Counter(reply.status_code for reply in replies) == {200: 1, 412: 49}
    winner = next(reply for reply in replies if reply.status_code == 200).json()["name"]
    assert api.rows("select name, version from users where user_id = %s", user_id) == [(winner, 2)]


def test_concurrent_moves_of_one_order_take_turns(api: Api) -> None:
    order_id = api.order()
    moves = [("PUT", f"/orders/{order_id}/status", {"status": "paid"}, {})] * 20
    cancels = [("POST", f"/orders/{order_id}/cancel", None, {})] * 20
    replies = _at_once(api, [*moves, *cancels])
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
        replies = _at_once(api, [*[("POST", "/orders", body, {})] * 5, ("DELETE", f"/users/{user_id}", None, {})])
        placed = [reply.status_code for reply in replies[:5]]
        assert set(placed) <= {201, 422}
        assert replies[5].status_code == (409 if 201 in placed else 200)


# --- what is refused before anything is written -----------------------------------------------------------------------

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
    (f"/orders/{GOOD_ID}/status", b'{"status":"lost"}', "body.status"),
    ("/orders/7/status", b'{"status":"paid"}', "path.order_id"),
]


def test_invalid_values_are_named_with_a_remedy_and_nothing_is_written(api: Api) -> None:
    for path, body, field in INVALID:
        method = "PUT" if path.endswith("/status") else "POST"
        reply = api.http.request(method, path, content=body, headers={"Content-Type": "application/json"})
        problem = _problem(reply, 422, "invalid")
        assert field in [error["field"] for error in problem["errors"]], (body, problem)
        for error in problem["errors"]:
            assert error["message"], body
            assert error["remedy"], body
            assert "{" not in error["remedy"], body
    for table in ("users", "products", "orders", "idempotency_keys"):
        assert api.rows(f"select from {table}") == []


@pytest.mark.parametrize("price", ["0", "0.1", "1.0", "9999999999.99", 12.5, 3, "1E+3"])
def test_prices_within_numeric_12_2_are_kept_exactly(api: Api, price: Any) -> None:
    made = api.post("/products", {"name": "Pen", "price": price}).raise_for_status().json()
    assert api.rows("select price::text from products") == [(made["price"],)]
    assert float(made["price"]) == float(price)


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
    _problem(
        api.http.post("/users", content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type"
    )
    _problem(api.http.post("/users", content=b"{}"), 415, "unsupported-media-type")
    gzip = {**json, "Content-Encoding": "gzip"}
    _problem(api.http.post("/users", content=b"{}", headers=gzip), 415, "unsupported-media-type")
    _problem(api.http.post("/users", content=b"x" * 2_001, headers=json), 413, "too-large")
    _problem(api.http.post("/users", content=iter([b"x" * 1_000] * 3), headers=json), 413, "too-large")
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert api.http.post("/users", content=b'{"name":"Ada"}', headers=charset).status_code == 201
    parts = iter([b'{"name":', b'"Bob"}'])
    assert api.http.post("/users", content=parts, headers=json).status_code == 201


def test_unknown_paths_and_methods(api: Api) -> None:
    _problem(api.http.get("/nothing/here"), 404, "no-such-path")
    reply = api.http.get("/users")
    _problem(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == "POST"


# --- operations -------------------------------------------------------------------------------------------------------


def test_health_readiness_and_metrics(api: Api) -> None:
    api.user()
    api.http.get("/nothing")
    assert api.http.get("/healthz").json() == {"status": "ok"}
    assert api.http.get("/readyz").json() == {"status": "ready"}
    count = 'command_api_request_seconds_count{method="POST",route="/users",status="201"}'
    assert api.metric(count) == 1
    assert api.metric('command_api_request_seconds_count{method="GET",route="unknown",status="404"}') == 1
    assert api.metric("command_api_database_pool_size") == 10


def test_a_database_that_is_away_is_503_with_retry_after(start: Callable[..., Api]) -> None:
    api = start(conninfo="host=127.0.0.1 port=1 dbname=app user=x", timeout_ms=300)
    for reply in (api.post("/users", {"name": "Ada"}), api.http.get("/readyz")):
        problem = _problem(reply, 503, "unavailable")
        assert reply.headers["retry-after"] == "1"
        assert "127.0.0.1" not in str(problem)
    assert api.http.get("/healthz").status_code == 200


def test_a_database_without_the_schema_says_what_to_run(
    start: Callable[..., Api], stack: Any, postgres: Postgres
) -> None:
    conninfo = make_conninfo(postgres.command_api.get_secret_value(), dbname="postgres")
    api = start(conninfo=conninfo)
    problem = _problem(api.post("/users", {"name": "Ada"}), 503, "unavailable")
    assert "migrate" in problem["hint"]
    _problem(api.http.get("/readyz"), 503, "unavailable")


def test_connections_ended_by_the_server_are_replaced_without_a_failed_command(api: Api) -> None:
    api.user()
    for _ in range(3):
        api.admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'lockstep-command-api' and datname = current_database()"
        )
        api.user()
    assert api.rows("select count(*) from users") == [(4,)]


def test_a_connection_lost_before_the_commit_is_another_try(api: Api) -> None:
    user_id = api.user()
    holder = psycopg.connect(api.admin.info.dsn, password=api.admin.info.password)
    holder.execute("select from users where user_id = %s for update", (user_id,))
    replies: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: replies.append(httpx.put(f"{api.url}/users/{user_id}/name", json={"name": "Eve"}, timeout=20))
    )
    thread.start()
    waiting = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    _until(lambda: api.rows(f"select count(*) {waiting}") == [(1,)])
    api.rows(f"select pg_terminate_backend(pid) {waiting}")
    holder.rollback()
    holder.close()
    thread.join(20)
    assert replies[0].status_code == 200
    assert api.rows("select name, version from users where user_id = %s", user_id) == [("Eve", 2)]


def test_a_column_type_that_changes_while_running_fails_no_command(api: Api) -> None:
    for _ in range(30):  # every connection has its statement prepared
        api.product("1.25")
    api.admin.execute("alter table products alter price type numeric(14,3)")
    for _ in range(30):
        assert api.post("/products", {"name": "Pen", "price": "1.25"}).status_code == 201


def test_a_lock_held_too_long_is_503_and_writes_nothing(start: Callable[..., Api]) -> None:
    api = start(timeout_ms=300)
    user_id = api.user()
    with psycopg.connect(api.admin.info.dsn, password=api.admin.info.password) as holder:
        holder.execute("select from users where user_id = %s for update", (user_id,))
        reply = api.put(f"/users/{user_id}/name", {"name": "Eve"}, Idempotency_Key="k")
    _problem(reply, 503, "unavailable")
    assert api.rows("select name from users") == [("Ada",)]
    api.put(f"/users/{user_id}/name", {"name": "Eve"}, Idempotency_Key="k").raise_for_status()


def test_a_fault_is_a_500_that_tells_nothing(api: Api) -> None:
    api.admin.execute("alter table users add constraint surprise check (name <> 'Mallory')")
    reply = api.post("/users", {"name": "Mallory"})
    problem = _problem(reply, 500, "internal")
    assert "surprise" not in reply.text
    assert "Mallory" not in reply.text
    assert "operator" in problem["hint"]


def test_openapi_describes_every_reply(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    assert "Problem" in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "operations" in operation["tags"]:
                continue
            responses = operation["responses"]
            assert {"400", "413", "415", "422", "500", "503"} <= set(responses), (path, method)
            for status, response in responses.items():
                if status >= "400":
                    assert list(response["content"]) == [PROBLEM], (path, method, status)
                else:
                    assert "Consistency-Token" in response["headers"]
    named = str(document)
    assert "HTTPValidationError" not in named
