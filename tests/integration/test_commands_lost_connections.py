"""A connection to Postgres that ends at the worst moments: around COMMIT, and between the commit and its token.

A relay of bytes between the command API and the real server ends the connection when a statement passes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken
from command_api.process.settings import CommandApi, Postgres, Settings
from command_api.serve import prepare


class Wire:
    """Forwards connections to Postgres; `cut` arms it once."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._marker: bytes | None = None
        self._deliver = False
        self._last = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, marker: bytes, *, deliver: bool, last: bool = False) -> None:
        """End the connection that next sends `marker`: before the server gets it, or once the server has answered.

        last: take no connection after that.
        """
        self._marker, self._deliver, self._last = marker, deliver, last

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept, which would hold the port
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server, contextlib.suppress(OSError):
            while True:
                for ready in select.select([client, server], [], [], 60)[0]:
                    data = ready.recv(65_536)
                    if not data:
                        return
                    if ready is client and self._marker is not None and self._marker in data:
                        self._marker, deliver = None, self._deliver
                        self.cuts += 1
                        if self._last:
                            self.close()
                        if deliver:
                            server.sendall(data)
                            server.recv(65_536)
                        return
                    (server if ready is client else client).sendall(data)


@pytest.fixture
def wire(postgres: Postgres) -> Iterator[Wire]:
    given = conninfo_to_dict(postgres.command_api.get_secret_value())
    made = Wire(str(given["host"]), int(str(given["port"])))
    yield made
    made.close()


@pytest.fixture
def http(wire: Wire, database: str, postgres: Postgres) -> Iterator[httpx.Client]:
    conninfo = make_conninfo(
        postgres.command_api.get_secret_value(),
        host="127.0.0.1",
        port=wire.port,
        sslmode="disable",
        gssencmode="disable",
    )
    settings = Settings(
        postgres=Postgres(admin=database, command_api=conninfo),  # type: ignore[arg-type]
        command_api=CommandApi(port=0, pool_size=1, timeout_ms=2_000),
    )
    server, listener = prepare(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
        yield client
    server.should_exit = True
    thread.join(20)
    listener.close()


def _users(database: str) -> Any:
    with psycopg.connect(database) as connection:
        return connection.execute("select count(*) from users").fetchone()[0]  # type: ignore[index]


@pytest.mark.parametrize("delivered", [False, True])
def test_with_a_key_a_command_whose_commit_went_unanswered_happens_once(
    wire: Wire, http: httpx.Client, database: str, delivered: bool
) -> None:
    wire.cut(b"COMMIT", deliver=delivered)
    reply = http.post("/users", json={"name": "Ada"}, headers={"Idempotency-Key": "k"})
    assert wire.cuts == 1
    assert reply.status_code == 201
    assert _users(database) == 1
    again = http.post("/users", json={"name": "Ada"}, headers={"Idempotency-Key": "k"})
    assert again.content == reply.content
    assert _users(database) == 1


@pytest.mark.parametrize("delivered", [False, True])
def test_without_a_key_an_unanswered_commit_is_said_to_be_unknown(
    wire: Wire, http: httpx.Client, database: str, delivered: bool
) -> None:
    wire.cut(b"COMMIT", deliver=delivered)
    reply = http.post("/users", json={"name": "Ada"})
    assert wire.cuts == 1
    assert reply.status_code == 503
    assert reply.json()["type"] == "urn:lockstep:problem:outcome-unknown"
    assert "Idempotency-Key" in reply.json()["hint"]
    assert _users(database) == int(delivered)


def test_a_commit_in_doubt_is_not_called_unwritten_when_the_next_try_finds_no_database(
    wire: Wire, http: httpx.Client, database: str
) -> None:
    wire.cut(b"COMMIT", deliver=True, last=True)
    reply = http.post("/users", json={"name": "Ada"}, headers={"Idempotency-Key": "k"})
    assert reply.status_code == 503
    assert reply.json()["type"] == "urn:lockstep:problem:outcome-unknown"
    assert _users(database) == 1


def test_a_connection_lost_before_the_commit_is_another_try(wire: Wire, http: httpx.Client, database: str) -> None:
    wire.cut(b"insert into users", deliver=True)
    assert http.post("/users", json={"name": "Ada"}).status_code == 201
    assert wire.cuts == 1
    assert _users(database) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize("delivered", [False, True])
def test_a_token_lost_after_the_commit_is_read_elsewhere(
    wire: Wire, http: httpx.Client, database: str, headers: dict[str, str], delivered: bool
) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        before = Lsn.parse(str(admin.execute("select pg_current_wal_insert_lsn()::text").fetchone()[0]))  # type: ignore[index]
    wire.cut(b"pg_current_wal_flush_lsn", deliver=delivered)
    reply = http.post("/users", json={"name": "Ada"}, headers=headers)
    assert wire.cuts == 1
    assert reply.status_code == 201
    assert ConsistencyToken.parse(reply.headers["consistency-token"]).newest > before
    assert _users(database) == 1
    if headers:
        assert http.post("/users", json={"name": "Ada"}, headers=headers).content == reply.content
