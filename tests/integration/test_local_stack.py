"""The local stack's life on real servers: started by its command, found, killed in pieces, stopped; nothing is left.

These tests start servers of their own, whatever the session's `stack` is.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from cassandra import AuthenticationFailed, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy
from psycopg.conninfo import make_conninfo

from deploy.local import apps, cassandra, folders, kafka, passwords, ports, stack, state
from deploy.local.errors import AlreadyRunningError
from deploy.local.plan import SERVERS
from tests.conftest import FOR_MINUTES

COMMAND = (sys.executable, "-m", "deploy.local")
PATIENCE_S = 150


@pytest.fixture(autouse=True)
def for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*FOR_MINUTES)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A stack's folder; whatever a failing test leaves running is stopped, and what lies outside the folder removed."""
    folder = tmp_path / "stack"
    yield folder
    stack.stop(folder)
    folders.remove_data(folder)


def command(verb: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    argv = [*COMMAND, verb, "--folder", str(folder), *more]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folders.TREE)


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def up_all(folder: Path) -> tuple[int, str]:
    return finished(command("up", folder))


def up(folder: Path, *more: str) -> tuple[int, str]:
    return finished(command("up", folder, "--servers-only", *more))


def wait_state(folder: Path, part: str, phase: str) -> state.State:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = state.read(folder)
        if found is not None and found.parts and found.part(part).phase == phase:
            return found
        time.sleep(0.02)  # the deadline is the loop; the state is a file of another process
    pytest.fail(f"{part} never became {phase}: {state.read(folder)}")


def everything_of(folder: Path) -> list[psutil.Process]:
    """The supervisor and all below it."""
    found = state.read(folder)
    assert found is not None
    process = found.supervisor.process()
    assert process is not None
    return [process, *process.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


def goes_through(running: stack.Running, name: str) -> None:
    """A command's change is read, and before long from Cassandra."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        made = client.post(f"{running.address('command-api')}/users", json={"name": name}).raise_for_status()
        url = f"{running.address('read-api')}/read/user_profile/{made.json()['user_id']}"
        deadline = time.monotonic() + PATIENCE_S
        while True:
            read = client.get(url, headers={"Consistency-Token": made.headers["Consistency-Token"]}).raise_for_status()
            assert [row["name"] for row in read.json()["rows"]] == [name]
            if read.json()["source"] == "read-model":
                return
            assert time.monotonic() < deadline, "Postgres still answers in the read model's place"


@contextlib.contextmanager
def logged_in(running: stack.Running, user: str, password: str) -> Iterator[Session]:
    host, _, port = running.address("cassandra").rpartition(":")
    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1"), request_timeout=30)
    cluster = Cluster(
        [host],
        port=int(port),
        protocol_version=5,
        auth_provider=PlainTextAuthProvider(user, password),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def each_role_may_do_its_own_and_no_more(running: stack.Running) -> None:
    """In Cassandra; Postgres's are the migrations' and tested there."""
    with pytest.raises(NoHostAvailable) as refused, logged_in(running, "cassandra", "cassandra"):
        pass
    assert any(isinstance(error, AuthenticationFailed) for error in refused.value.errors.values())
    password = passwords.kept(running.folder / "passwords.json", apps.PASSWORDS)
    read, write, create = (
        "select * from lockstep.projection_positions",
        "delete from lockstep.projection_positions where projection = 'nobody''s'",
        "create table lockstep.another (id int primary key)",
    )
    may = {"reader": (read,), "projector": (read, write), "setup": (read, write, create)}
    for name, its_own in may.items():
        with logged_in(running, f"lockstep_{name}", password[f"cassandra_{name}"]) as session:
            for statement in (read, write, create):
                with contextlib.nullcontext() if statement in its_own else pytest.raises(Unauthorized):
                    session.execute(statement)


def test_a_stack_is_started_found_mended_stopped_and_started_again(folder: Path) -> None:
    code, said = up_all(folder)
    assert code == 0, said
    running = stack.find(folder)
    assert running is not None
    first = running.state

    # Each server is the real one and set up as promised.
    with psycopg.connect(running.postgres_admin) as connection:
        facts = connection.execute(
            "select current_setting('wal_level'), current_setting('timezone'), datlocale, pg_encoding_to_char(encoding)"
            " from pg_database where datname = 'app'"
        ).fetchone()
        assert facts == ("logical", "UTC", "C.UTF-8", "UTF8")
        connection.execute("create table kept as select 42 as answer")
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
        psycopg.connect(make_conninfo(running.postgres_admin, password=""))
    address = {name: int(running.address(name).rpartition(":")[2]) for name in SERVERS}
    assert kafka.answers(address["kafka"])
    assert cassandra.answers(address["cassandra"])
    goes_through(running, "Ada")
    each_role_may_do_its_own_and_no_more(running)

    # A second start finds it.
    code, said = up_all(folder)
    assert code == 0
    assert "already running" in said
    assert running.state.supervisor == first.supervisor

    # A server that is killed comes back where it was, with what it held.
    victim = first.part("postgres").process
    assert victim is not None
    psutil.Process(victim.pid).kill()
    deadline = time.monotonic() + PATIENCE_S
    while running.state.part("postgres").restarts == 0 or running.state.part("postgres").phase != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the deadline is above; the state is a file of another process
    with psycopg.connect(running.postgres_admin) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)

    # A killed supervisor takes everything with it; the next start is on the same ports and data.
    processes = everything_of(folder)
    processes[0].kill()
    assert_gone(processes)
    assert stack.find(folder) is None
    code, said = up_all(folder)
    assert code == 0, said
    goes_through(running, "Bob")
    assert {name: running.address(name) for name in SERVERS} == {name: first.part(name).address for name in SERVERS}
    with psycopg.connect(running.postgres_admin) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)

    processes = everything_of(folder)
    code, said = finished(command("down", folder))
    assert code == 0, said
    assert_gone(processes)
    assert not any(ports.listens(port) for port in address.values())
    code, said = finished(command("down", folder))
    assert code == 0
    assert "nothing was running" in said


def test_ctrl_c_while_starting_leaves_nothing(folder: Path) -> None:
    starting = command("up", folder, "--servers-only")
    wait_state(folder, "kafka", "starting")
    processes = everything_of(folder)
    assert len(processes) >= 3
    starting.send_signal(signal.SIGINT)
    code, said = finished(starting)
    assert code == 130
    assert "nothing is left running" in said
    assert_gone(processes)


def test_a_second_start_beside_one_under_way_says_so_and_leaves_it_alone(folder: Path) -> None:
    starting = command("up", folder, "--servers-only")
    before = wait_state(folder, "kafka", "starting")
    with pytest.raises(AlreadyRunningError, match="already runs, starts or stops"):
        stack.start(stack.Options(folder=folder, only=SERVERS))
    now = state.read(folder)
    assert now is not None
    assert now.supervisor == before.supervisor
    assert now.supervisor.process() is not None
    starting.send_signal(signal.SIGINT)
    finished(starting)


def test_a_caller_that_is_killed_while_starting_leaves_nothing(folder: Path) -> None:
    starting = command("up", folder, "--servers-only")
    wait_state(folder, "kafka", "starting")
    processes = everything_of(folder)
    starting.kill()
    finished(starting)
    assert_gone(processes)


def test_a_port_in_use_is_named_and_nothing_is_started(folder: Path) -> None:
    with socket.create_server((ports.HOST, 0)) as server:
        port = server.getsockname()[1]
        code, said = up(folder, "--port", f"cassandra={port}")
    assert code == 1
    assert f"port {port}, asked for cassandra, is in use" in said
    assert "→" in said
    assert stack.find(folder) is None


def test_a_server_that_cannot_start_stops_the_others_and_its_log_is_told(folder: Path) -> None:
    # A folder stands where Kafka wants to write its own file.
    (folder / "kafka" / "data").mkdir(parents=True)
    (folder / "kafka" / "formatted").touch()
    code, said = up(folder)
    assert code == 1
    assert "kafka ended with exit code" in said
    assert "meta.properties" in said
    found = state.read(folder)
    assert found is not None
    assert_gone([process for part in found.parts if part.process and (process := part.process.process())])
