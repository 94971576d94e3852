"""Processes with keys and without: where they refuse to start, what they say, whose rows are whose, what is too slow."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from command_api.process.settings import Http, Settings
from tests import preloaded
from tests.e2e.pipeline import Pipeline, Process, listening, wait_for
from tests.http_client import HTTP
from tests.unit.access.tokens import AUTH, bearer, token

MODULES = {"command_api": "LOCKSTEP_COMMAND_API__HOST", "read_api": "LOCKSTEP_READ_API__HOST"}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_bound_elsewhere_without_keys_it_does_not_start(module: str, host: str) -> None:
    done = preloaded.run((module, "serve"), os.environ | {MODULES[module]: host})
    assert done.returncode == 1
    assert f"set LOCKSTEP_AUTH__HS256_SECRETS or LOCKSTEP_AUTH__JWKS_FILE, or {MODULES[module]} to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_keys_that_cannot_be_used_are_named_without_them(module: str) -> None:
    secret = "hunter2-is-too-short"
    done = preloaded.run((module, "serve"), os.environ | {"LOCKSTEP_AUTH__HS256_SECRETS": json.dumps({"a": secret})})
    assert done.returncode == 1
    assert "auth.hs256_secrets" in done.stderr
    assert secret not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    quick = settings.model_copy(update={"auth": AUTH, "http": Http(head_timeout_ms=700, body_timeout_ms=700)})
    with Pipeline(quick, tmp_path) as running:
        yield running


def test_without_keys_it_says_that_it_runs_open(pipeline: Pipeline) -> None:
    opened = pipeline.with_settings(auth={"hs256_secrets": {}})
    process = pipeline.start("command-api", settings=opened)
    url = listening(process)
    wait_for("it says so", lambda: "running open" in process.said(), 10, process.tail)
    assert HTTP.post(f"{url}/users", json={"name": "Ada"}).status_code == 201
    reads = pipeline.start("read-api", settings=opened)
    wait_for("the read API says so too", lambda: "running open" in reads.said(), 30, reads.tail)


@pytest.fixture
def commands(pipeline: Pipeline) -> Process:
    return pipeline.start("command-api")


@pytest.fixture
def send(commands: Process) -> Iterator[Callable[..., httpx.Response]]:
    with httpx.Client(base_url=listening(commands), trust_env=False, timeout=30) as client:

        def run(method: str, path: str, subject: str, body: Any = None, scope: str = "command:*", **more: str) -> Any:
            headers = bearer(token(scope, sub=subject)) | {name.replace("_", "-"): text for name, text in more.items()}
            return client.request(method, path, json=body, headers=headers)

        yield run


ADA, EVE = "01938d7e-5c3a-7b4e-9f00-00000000000a", "01938d7e-5c3a-7b4e-9f00-00000000000e"


def test_commands_are_their_users_own(send: Callable[..., httpx.Response], commands: Process) -> None:
    for user, name in ((ADA, "Ada"), (EVE, "Eve")):
        assert send("POST", "/users", user, {"user_id": user, "name": name}).status_code == 201
    assert send("POST", "/users", ADA, {"name": "Nobody"}).status_code == 403
    assert send("POST", "/users", ADA, {"name": "Nobody"}, "command:users:any").status_code == 201
    thing = send("POST", "/products", ADA, {"name": "lamp", "price": "1.00"}).json()["product_id"]
    driver = send("POST", "/drivers", EVE, {"driver_id": EVE, "name": "Eve"}).json()["driver_id"]
    channel = send("POST", "/channels", ADA, {"name": "all"}).json()["channel_id"]

    def made(path: str, body: dict[str, Any], key: str) -> str:
        reply = send("POST", path, ADA, body)
        assert reply.status_code == 201, reply.text
        return str(reply.json()[key])

    items = [{"product_id": thing, "quantity": 1}]
    order = made("/orders", {"user_id": ADA, "region": "eu", "items": items}, "order_id")
    post = made("/posts", {"author_id": ADA, "body": "hello"}, "post_id")
    message = made("/messages", {"channel_id": channel, "author_id": ADA, "body": "hello"}, "message_id")
    review = made("/reviews", {"product_id": thing, "user_id": ADA, "rating": 4, "body": "good"}, "review_id")
    trip = made("/trips", {"driver_id": driver, "rider_id": ADA, "city": "Ely"}, "trip_id")
    # Whose a row is, only Postgres knows.
    for method, path, body, owner in (
        ("PUT", f"/posts/{post}/body", {"body": "x"}, ADA),
        ("PUT", f"/messages/{message}/body", {"body": "x"}, ADA),
        ("PUT", f"/reviews/{review}", {"rating": 5, "body": "x"}, ADA),
        ("POST", f"/trips/{trip}/finish", {"fare": "1.00"}, EVE),
        ("POST", f"/orders/{order}/cancel", None, ADA),
        ("DELETE", f"/posts/{post}", None, ADA),
        ("DELETE", f"/messages/{message}", None, ADA),
        ("DELETE", f"/reviews/{review}", None, ADA),
    ):
        other = EVE if owner == ADA else ADA
        for subject in (other, "nobody"):
            refused = send(method, path, subject, body)
            assert refused.status_code == 403, (method, path, refused.text)
            assert refused.json()["type"] == "urn:lockstep:problem:forbidden"
        assert send(method, path, owner, body).status_code == 200, (method, path)
    assert send("DELETE", f"/posts/{post}", ADA).status_code == 404
    assert send("DELETE", f"/orders/{order}", ADA).status_code == 403
    assert send("DELETE", f"/orders/{order}", ADA, scope="command:orders:any").status_code == 200
    assert "eyJ" not in commands.said()


def test_a_key_repeats_a_reply_to_whom_it_was_given(send: Callable[..., httpx.Response]) -> None:
    body = {"name": "everybody's"}
    first = send("POST", "/channels", ADA, body, Idempotency_Key="one")
    assert first.status_code == 201
    assert send("POST", "/channels", ADA, body, Idempotency_Key="one").json() == first.json()
    stolen = send("POST", "/channels", EVE, body, Idempotency_Key="one")
    assert stolen.status_code == 422
    assert stolen.json()["type"] == "urn:lockstep:problem:idempotency-key-reused"


def answer(connection: socket.socket) -> tuple[bytes, dict[str, Any]]:
    """The status line and the problem; reads until the server closes."""
    said = b""
    while data := connection.recv(65_536):
        said += data
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"onnection: close" in head
    return head.partition(b"\r\n")[0], json.loads(body)


def test_what_comes_too_slowly_is_a_408_and_the_end(commands: Process) -> None:
    port = int(listening(commands).rpartition(":")[2])
    authorization = bearer(token())["Authorization"]
    whole = (
        f"POST /channels HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: {authorization}\r\n"
        "Content-Length: 15\r\n\r\n"
    )
    for text, what in (("", "head"), ("POST /channels HTTP/1.1\r\nHost:", "head"), (whole + '{"name"', "body")):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            began = time.monotonic()
            connection.sendall(text.encode())
            status, problem = answer(connection)
            assert status.startswith(b"HTTP/1.1 408"), status
            assert f"{what} did not come within 0.7 s" in problem["detail"]
            assert 0.5 < time.monotonic() - began < 10
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        # A head that goes on coming is bounded too, on a connection that has carried a request before.
        connection.sendall((whole + '{"name":"slow"}').encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201")
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011, PT012  a reset or a broken pipe, once it is closed
            while time.monotonic() - began < 10:
                connection.sendall(b"X" if time.monotonic() - began > 0.05 else b"GET / HTTP/1.1\r\n")
                time.sleep(0.05)  # the deadline is above; slowness is what is tested
        assert time.monotonic() - began < 5
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"no http\r\n\r\n")
        status, problem = answer(connection)
        assert status.startswith(b"HTTP/1.1 400")


def test_a_body_that_is_too_large_and_one_of_nobody(commands: Process, pipeline: Pipeline) -> None:
    url = listening(commands)
    large = b'{"name": "' + b"x" * pipeline.settings.command_api.max_body_bytes + b'"}'
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=url, trust_env=False) as client:
        reply = client.post("/channels", content=large, headers=headers | bearer(token()))
        assert reply.status_code == 413
        # The sender may still be writing when the connection is closed; whoever reads the reply reads a 401.
        head = f"POST /channels HTTP/1.1\r\nHost: a\r\nContent-Length: {len(large)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as connection:
            connection.sendall(head.encode())
            assert answer(connection)[0].startswith(b"HTTP/1.1 401")
