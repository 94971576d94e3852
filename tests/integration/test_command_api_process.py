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
from typing import Any

import httpx
import psycopg
import pytest

from command_api.process.settings import Postgres

COMMAND = [sys.executable, "-m", "command_api"]


def _environment(postgres: Postgres, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "LOCKSTEP_POSTGRES__ADMIN": postgres.admin.get_secret_value(),
        "LOCKSTEP_POSTGRES__COMMAND_API": postgres.command_api.get_secret_value(),
        "LOCKSTEP_COMMAND_API__PORT": "0",
        **more,
    }


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["serve"], ["migrate"], ["openapi"], ["purge-keys"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    done = _run(*arguments, "--help", COLUMNS="200")
    assert done.returncode == 0
    assert "Example" in done.stdout


def test_openapi_is_printed_without_a_database() -> None:
    done = _run("openapi")
    assert done.returncode == 0, done.stderr
    assert "/orders/{order_id}/status" in json.loads(done.stdout)["paths"]


def test_migrations_at_once_on_one_database_wait_for_each_other(empty_database: str) -> None:
    environment = {**os.environ, "LOCKSTEP_POSTGRES__ADMIN": empty_database}
    processes = [
        subprocess.Popen([*COMMAND, "migrate"], env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    results = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select version_num from alembic_version").fetchall() == [("0001",)]


@pytest.fixture
def serve(postgres: Postgres) -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]]:
    processes: list[subprocess.Popen[str]] = []

    def run(**more: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = subprocess.Popen(
            [*COMMAND, "serve"], env=_environment(postgres, **more), stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], 30)[0], "said nothing within 30 s"
        return process, json.loads(process.stderr.readline())

    yield run
    for process in processes:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def test_a_server_says_its_port_and_answers_what_it_has_begun_when_told_to_stop(
    serve: Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]], database: str
) -> None:
    process, listening = serve()
    assert listening["event"] == "listening"
    url = listening["url"]
    user_id = httpx.post(f"{url}/users", json={"name": "Ada"}).raise_for_status().json()["user_id"]
    replies: list[httpx.Response] = []
    with psycopg.connect(database) as holder:
        holder.execute("select from users where user_id = %s for update", (user_id,))
        thread = threading.Thread(
            target=lambda: replies.append(httpx.put(f"{url}/users/{user_id}/name", json={"name": "Eve"}, timeout=20))
        )
        thread.start()
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        with psycopg.connect(database, autocommit=True) as admin:
            deadline = time.monotonic() + 20
            while admin.execute(waiting).fetchone() != (1,):
                assert time.monotonic() < deadline
                time.sleep(0.01)
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
    done = subprocess.run(
        [*COMMAND, "purge-keys"], env=_environment(postgres), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["keys"] == 6_000
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from idempotency_keys").fetchone() == (10,)
