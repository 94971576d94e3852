"""Each process says whether it runs and whether it can do its job; told to stop, it finishes or leaves it to be repeated."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from command_api.process.settings import Kafka, Settings
from projector.apply.probe import LogProbe
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.http_client import HTTP
from tests.integration.read_api.proxy import Proxy

NAMES = ("command-api", "relay", "projector", "refresher", "read-api")
SECTIONS = dict(zip(NAMES, ("command_api", "relay", "projector", "refresh", "read_api"), strict=True))


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(settings, tmp_path) as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_each_process_is_ready_exactly_while_it_can_do_its_job(pipeline: Pipeline, stack: Any) -> None:
    pipeline.set_up()
    there = conninfo_to_dict(pipeline.settings.postgres.relay.get_secret_value())
    postgres, cassandra = Proxy((str(there["host"]), int(str(there["port"])))), Proxy(stack.cassandra)
    through = {
        role: SecretStr(make_conninfo(getattr(pipeline.settings.postgres, role).get_secret_value(), port=postgres.port))
        for role in ("relay", "command_api")
    }
    port = {name: free_port() for name in NAMES}
    behind = pipeline.with_settings(
        cassandra={"port": cassandra.port},
        postgres=through,
        **{
            section: {"port" if section.endswith("_api") else "metrics_port": port[name]}
            for name, section in SECTIONS.items()
        },
    )

    def ask(name: str, path: str) -> httpx.Response | None:
        try:
            return HTTP.get(f"http://127.0.0.1:{port[name]}{path}", timeout=10)
        except httpx.TransportError:
            return None

    def ready(name: str) -> bool:
        reply = ask(name, "/readyz")
        return reply is not None and reply.status_code == 200 and reply.json()["status"] == "ready"

    def refused(name: str, words: str) -> Callable[[], bool]:
        def found() -> bool:
            reply = ask(name, "/readyz")
            return reply is not None and reply.status_code == 503 and words in reply.text

        return found

    with ExitStack() as open_:
        for proxy in (postgres, cassandra):
            proxy.come()
            open_.callback(proxy.go)
        processes = [pipeline.start(name, settings=behind) for name in NAMES]
        for name in NAMES:
            wait_for(f"{name} is ready", lambda name=name: ready(name), 60, pipeline.logs)  # type: ignore[misc]

        cassandra.go()
        wait_for("read-api is not", refused("read-api", "Cassandra"), 30)
        user = HTTP.post(f"http://127.0.0.1:{port['command-api']}/users", json={"name": "Ada"})
        assert user.status_code == 201
        wait_for("projector is not", refused("projector", "Cassandra does not take what is written"), 60)
        assert ready("relay")
        assert ready("command-api")
        cassandra.come()
        for name in ("read-api", "projector"):
            wait_for(f"{name} is again", lambda name=name: ready(name), 60, pipeline.logs)  # type: ignore[misc]

        postgres.go()
        wait_for("command-api is not", refused("command-api", "database"), 30)
        wait_for("relay is not", refused("relay", "not streaming: "), 30)
        assert ready("projector"), pipeline.logs()
        for name in NAMES:
            reply = ask(name, "/healthz")
            assert reply is not None
            assert reply.json() == {"status": "ok"}
        postgres.come()
        for name in ("relay", "command-api"):
            wait_for(f"{name} is again", lambda name=name: ready(name), 60, pipeline.logs)  # type: ignore[misc]
        assert [process.stop() for process in processes] == [0] * len(NAMES)


def test_a_log_answers_unless_it_is_away_or_has_no_such_topic(settings: Settings) -> None:
    assert LogProbe(settings.kafka).answers(20)
    assert not LogProbe(settings.kafka.model_copy(update={"topic": "nowhere"})).answers()
    assert not LogProbe(Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")).answers(0.3)


def test_a_stop_under_load_loses_no_acknowledged_command(pipeline: Pipeline, database: str) -> None:
    first = pipeline.start("command-api")
    url = listening(first)
    acknowledged: set[str] = set()
    begun: set[str] = set()
    told = threading.Event()

    def post() -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            while not told.is_set() or first.status is None:
                name = str(uuid.uuid4())
                begun.add(name)
                try:
                    if client.post("/users", json={"name": name}, headers={"Idempotency-Key": name}).status_code == 201:
                        acknowledged.add(name)
                except httpx.TransportError:
                    return

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for("a load", lambda: len(acknowledged) > 100, 30, first.tail)
    began = time.monotonic()
    first.send(signal.SIGTERM)
    told.set()
    assert first.wait(30) == 0
    assert time.monotonic() - began < 10
    for thread in threads:
        thread.join(30)
    with psycopg.connect(database, autocommit=True) as connection:

        def written() -> list[str]:
            return [name for (name,) in connection.execute("select name from users")]

        assert acknowledged <= set(written())
        # What got no answer is repeated with its key, at another process: all is there, nothing twice.
        second = listening(pipeline.start("command-api", log="second"))
        for name in begun - acknowledged:
            headers = {"Idempotency-Key": name}
            assert HTTP.post(f"{second}/users", json={"name": name}, headers=headers).is_success
        assert sorted(written()) == sorted(begun)


def test_a_command_that_does_not_end_in_time_is_not_waited_for(pipeline: Pipeline, database: str) -> None:
    settings = pipeline.with_settings(process={"stop_s": 1}, command_api={"timeout_ms": 60_000})
    process = pipeline.start("command-api", settings=settings)
    url = listening(process)
    user = HTTP.post(f"{url}/users", json={"name": "Ada"}).json()["user_id"]
    replies: list[int] = []

    def rename() -> None:
        try:
            path = f"{url}/users/{user}/name"
            replies.append(HTTP.put(path, json={"name": "Eve"}, timeout=60).status_code)
        except httpx.TransportError:
            replies.append(0)

    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as admin:
        holder.execute("select from users where user_id = %s for update", (user,))
        thread = threading.Thread(target=rename)
        thread.start()
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        wait_for("it waits for the lock", lambda: admin.execute(waiting).fetchone() is not None, 20)
        began = time.monotonic()
        process.send(signal.SIGTERM)
        process.wait(20)
        assert time.monotonic() - began < 10
        thread.join(20)
        holder.rollback()
        assert replies[0] not in range(200, 300)
        ended = "select from pg_stat_activity where datname = current_database() and usename = 'lockstep_command_api'"
        wait_for("its sessions are gone", lambda: admin.execute(ended).fetchone() is None, 20)
        assert admin.execute("select name from users").fetchall() == [("Ada",)]


def test_a_loop_that_does_not_stop_in_time_is_ended() -> None:
    program = (
        "import threading, time\n"
        "from command_api.process.logging import configure_logging\n"
        "from command_api.process.stopping import stop_on_signals\n"
        "configure_logging()\n"
        "stop_on_signals(threading.Event(), 0.5)\n"
        "print('on', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"on\n"
        began = time.monotonic()
        process.terminate()
        assert process.wait(20) == 1
        assert 0.4 < time.monotonic() - began < 10
        assert b"not stopped in time" in process.stderr.read()
