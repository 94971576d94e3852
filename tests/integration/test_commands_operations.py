"""The command API in operation: health, metrics, a database that goes away, faults, its OpenAPI document."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
from psycopg.conninfo import make_conninfo

from command_api.process.settings import Postgres
from tests.http_client import HTTP
from tests.integration.command_server import PROBLEM, Api, problem, until


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
        found = problem(reply, 503, "unavailable")
        assert reply.headers["retry-after"] == "1"
        assert "127.0.0.1" not in str(found)
    assert api.http.get("/healthz").status_code == 200


def test_a_database_without_the_schema_says_what_to_run(
    start: Callable[..., Api], stack: Any, postgres: Postgres
) -> None:
    conninfo = make_conninfo(postgres.command_api.get_secret_value(), dbname="postgres")
    api = start(conninfo=conninfo)
    found = problem(api.post("/users", {"name": "Ada"}), 503, "unavailable")
    assert "migrate" in found["hint"]
    problem(api.http.get("/readyz"), 503, "unavailable")


def test_a_database_that_takes_no_writes_is_not_ready(start: Callable[..., Api], postgres: Postgres) -> None:
    conninfo = make_conninfo(
        postgres.command_api.get_secret_value(), options="-c default_transaction_read_only=on"
    )  # as on a standby that was the primary
    found = problem(start(conninfo=conninfo).http.get("/readyz"), 503, "unavailable")
    assert "no writes" in found["detail"]


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
        target=lambda: replies.append(HTTP.put(f"{api.url}/users/{user_id}/name", json={"name": "Eve"}, timeout=20))
    )
    thread.start()
    waiting = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    until(lambda: api.rows(f"select count(*) {waiting}") == [(1,)])
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
    problem(reply, 503, "unavailable")
    assert api.rows("select name from users") == [("Ada",)]
    api.put(f"/users/{user_id}/name", {"name": "Eve"}, Idempotency_Key="k").raise_for_status()


def test_a_fault_is_a_500_that_tells_nothing(api: Api) -> None:
    api.admin.execute("alter table users add constraint surprise check (name <> 'Mallory')")
    reply = api.post("/users", {"name": "Mallory"})
    found = problem(reply, 500, "internal")
    assert "surprise" not in reply.text
    assert "Mallory" not in reply.text
    assert "operator" in found["hint"]


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
