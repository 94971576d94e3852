"""``command-api`` as a process: its help, its migrations side by side, its server from start to SIGTERM, its refusals."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

import httpx
import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from command_api.migrations.apply import configuration
from command_api.process.postgres_login import AwayError, logged_in
from command_api.process.settings import Postgres
from tests import preloaded
from tests.http_client import HTTP

HEAD = ScriptDirectory.from_config(configuration()).get_current_head()

Served = tuple[preloaded.Forked, IO[str], dict[str, Any]]
"""A server, its standard error, and the first record there."""


def _environment(postgres: Postgres, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "LOCKSTEP_POSTGRES__ADMIN": postgres.admin.get_secret_value(),
        "LOCKSTEP_POSTGRES__COMMAND_API": postgres.command_api.get_secret_value(),
        "LOCKSTEP_COMMAND_API__PORT": "0",
        **more,
    }


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(("command_api", *arguments), os.environ | environment)


@pytest.mark.parametrize("arguments", [[], ["serve"], ["migrate"], ["openapi"], ["purge-keys"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "command_api", *arguments, "--help"],
        env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout


def test_openapi_is_printed_without_a_database() -> None:
    done = _run("openapi")
    assert done.returncode == 0, done.stderr
    assert "/orders/{order_id}/status" in json.loads(done.stdout)["paths"]


def test_migrations_at_once_on_one_database_wait_for_each_other(empty_database: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: _run("migrate", LOCKSTEP_POSTGRES__ADMIN=empty_database), range(3)))
    assert [done.returncode for done in results] == [0, 0, 0], results
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select version_num from alembic_version").fetchall() == [(HEAD,)]


@pytest.fixture
def serve(postgres: Postgres) -> Iterator[Callable[..., Served]]:
    with ExitStack() as ended:

        def run(**more: str) -> Served:
            reading, writing = os.pipe()
            errors = ended.enter_context(os.fdopen(reading))
            with os.fdopen(writing, "wb") as output:
                process = preloaded.popen(("command_api", "serve"), _environment(postgres, **more), output)
            ended.callback(process.wait, 20)
            ended.callback(process.kill)
            assert select.select([errors], [], [], 30)[0], "said nothing within 30 s"
            return process, errors, json.loads(errors.readline())

        yield run


def test_a_server_says_its_port_and_answers_what_it_has_begun_when_told_to_stop(
    serve: Callable[..., Served], database: str
) -> None:
    process, _, listening = serve()
    assert listening["event"] == "listening"
    url = listening["url"]
    user_id = HTTP.post(f"{url}/users", json={"name": "Ada"}).raise_for_status().json()["user_id"]
    replies: list[httpx.Response] = []
    with psycopg.connect(database) as holder:
        holder.execute("select from users where user_id = %s for update", (user_id,))
        thread = threading.Thread(
            target=lambda: replies.append(HTTP.put(f"{url}/users/{user_id}/name", json={"name": "Eve"}, timeout=20))
        )
        thread.start()
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        with psycopg.connect(database, autocommit=True) as admin:
            deadline = time.monotonic() + 20
            while admin.execute(waiting).fetchone() != (1,):
                assert time.monotonic() < deadline
                time.sleep(0.01)  # the deadline is above; a lock that is waited for is only there to be looked up
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)  # it waits for the command
    thread.join(20)
    assert replies[0].status_code == 200
    assert process.wait(20) == 0


def test_a_port_in_use_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run("serve", LOCKSTEP_COMMAND_API__PORT=port)
    assert done.returncode == 1
    assert port in done.stderr
    assert "LOCKSTEP_COMMAND_API__PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("wrong", "named"), [({"password": "hunter2"}, "user and password"), ({"dbname": "nowhere"}, "dbname")]
)
def test_a_refused_login_ends_the_server_with_the_setting(
    postgres: Postgres, wrong: dict[str, str], named: str
) -> None:
    conninfo = make_conninfo(postgres.command_api.get_secret_value(), **wrong)
    done = _run("serve", LOCKSTEP_POSTGRES__COMMAND_API=conninfo, LOCKSTEP_COMMAND_API__PORT="0")
    assert done.returncode == 1
    assert f"check {named} in LOCKSTEP_POSTGRES__COMMAND_API" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_at_the_start_is_waited_for(serve: Callable[..., Served], postgres: Postgres) -> None:
    there = conninfo_to_dict(postgres.command_api.get_secret_value())
    with socket.socket() as held:  # bound, and nobody listens: connections are refused
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        conninfo = make_conninfo(postgres.command_api.get_secret_value(), port=port)
        process, errors, said = serve(LOCKSTEP_POSTGRES__COMMAND_API=conninfo)
        assert said["event"] == "waiting for Postgres"
        held.listen()
        with forwarding(held, (str(there["host"]), int(str(there["port"])))):
            assert select.select([errors], [], [], 30)[0], "does not serve within 30 s"
            listening = json.loads(errors.readline())
            assert HTTP.post(f"{listening['url']}/users", json={"name": "Ada"}, timeout=20).status_code == 201
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@contextmanager
def forwarding(listener: socket.socket, target: tuple[str, int]) -> Iterator[None]:
    """Carry every connection that `listener` gets to `target`, both ways."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(target)
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threads.append(threading.Thread(target=carry, args=pair, daemon=True))
                    threads[-1].start()

    ends: list[socket.socket] = []
    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        for end in ends:
            end.close()


def test_a_database_that_stays_away_is_not_waited_for_for_ever() -> None:
    told: list[str] = []
    with pytest.raises(AwayError, match=r"for 0\.2 s now.*check host and port in THE_SETTING"):
        logged_in("host=127.0.0.1 port=1 user=x", setting="THE_SETTING", seconds=0.2, waiting=told.append)
    assert len(told) == 1


def test_an_unreachable_database_fails_the_migration_without_its_password() -> None:
    conninfo = "host=127.0.0.1 port=1 dbname=app user=postgres password=hunter2"
    done = _run("migrate", LOCKSTEP_POSTGRES__ADMIN=conninfo)
    assert done.returncode == 1
    assert "LOCKSTEP_POSTGRES__ADMIN" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("LOCKSTEP_COMMAND_API__PORT", "hunter2"), ("LOCKSTEP_POSTGRES__ADMIN", "password=hunter2 x")]
)
def test_settings_that_are_not_valid_are_named_without_their_value(name: str, value: str) -> None:
    done = _run("migrate", **{name: value})
    assert done.returncode == 1
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_purging_deletes_expired_keys_only(postgres: Postgres, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into idempotency_keys (key, fingerprint, expires_at)"
            " select n::text, '', now() + (n - 6000.5) * interval '1 day' from generate_series(1, 6010) as n"
        )
    done = preloaded.run(("command_api", "purge-keys"), _environment(postgres))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["keys"] == 6_000
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from idempotency_keys").fetchone() == (10,)
