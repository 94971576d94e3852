"""TLS, SASL and passwords, given as settings alone, on servers that let nobody in without them.

A change goes through every process to a read; a wrong password or authority ends each process soon with an error that
names the setting; and of all that the processes and their libraries say, at debug level, nothing holds a password.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from cassandra import AuthenticationFailed, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy
from secured_servers import SecuredServers, secured_servers

from deploy.local import ports
from tests import preloaded

AT_DEBUG_LEVEL = "tests.integration.at_debug_level"
REPLACED = "the default password is replaced"
WRONG = "never-the-right-one"
MODULES = {"command-api": "command_api", "relay": "command_api.relay", "projector": "projector", "read-api": "read_api"}

# What is wrong: which of a command's settings, and words of the error that it must cause.
POSTGRES = {
    "password": ("password authentication failed", "postgres.{role}"),
    "authority": ("certificate verify failed", "postgres.{role}"),
}
KAFKA = {
    "password": ("invalid credentials", "kafka.client", "sasl.password"),
    "authority": ("certificate verify failed", "kafka.client", "ssl.ca.location"),
}
CASSANDRA = {
    "password": ("Bad credentials", "cassandra.password"),
    "authority": ("certificate verify failed", "cassandra.ca_file"),
}
WRONGS = [
    (command, server, kind)
    for command, servers in {
        "command-api migrate": ("postgres",),
        "command-api serve": ("postgres",),
        "relay setup": ("postgres", "kafka"),
        "relay run": ("postgres", "kafka"),
        "projector roles": ("cassandra",),
        "projector roles --replace-default-password": ("cassandra",),
        "projector setup": ("cassandra", "postgres"),
        "projector refresh --scheduled": ("postgres",),
        "projector refresh category_report": ("postgres",),
        "projector run": ("kafka", "cassandra"),
        "read-api serve": ("cassandra",),
    }.items()
    for server in servers
    for kind in ("password", "authority")
]


class Processes:
    """Starts the project's commands at debug level; keeps all that they say, on both streams."""

    def __init__(self, servers: SecuredServers) -> None:
        self._folder = servers.folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
        self._environment["LOCKSTEP_FILE"] = str(servers.folder / "settings.toml")
        self.said: dict[str, Path] = {}

    def start(self, command: str, label: str = "", **settings: str) -> preloaded.Forked:
        """One command; `settings` are variables over the file."""
        name, *arguments = command.split()
        path = self._folder / f"{len(self.said)}-{name}.said"
        self.said[f"{command} {label}".strip()] = path
        with path.open("wb") as out:
            return preloaded.popen((AT_DEBUG_LEVEL, MODULES[name], *arguments), self._environment | settings, out)

    def run(self, command: str, label: str = "", **settings: str) -> tuple[int, str]:
        """Start and wait for its end: its exit code (that of a kill after two minutes), and what it said."""
        process = self.start(command, label, **settings)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait(), self.said[f"{command} {label}".strip()].read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredServers]:
    folder = tmp_path_factory.mktemp("secured")
    with secured_servers(folder) as running:
        (folder / "settings.toml").write_text(running.settings(), encoding="utf-8")
        yield running


@pytest.fixture(scope="module")
def processes(servers: SecuredServers) -> Processes:
    """After the three set-ups, each of which has ended well."""
    found = Processes(servers)
    for command, settings in (
        ("command-api migrate", {}),
        ("relay setup", {}),
        ("projector roles --replace-default-password", _roles(servers)),
        ("projector setup", _cassandra_login(servers, "setup")),
        ("projector roles", _roles(servers)),
    ):
        code, said = found.run(command, **settings)
        assert code == 0, f"{command}: {said[-3000:]}"
        assert (REPLACED in said) is ("--replace" in command)
    return found


def _roles(servers: SecuredServers) -> dict[str, str]:
    """The superuser's login, and the roles' passwords."""
    given = {
        f"LOCKSTEP_CASSANDRA_ROLES__{name.upper()}": json.dumps(
            {"username": f"lockstep_{name}", "password": servers.password[f"cassandra_{name}"]}
        )
        for name in ("setup", "projector", "reader")
    }
    return given | {
        "LOCKSTEP_CASSANDRA__USERNAME": "cassandra",
        "LOCKSTEP_CASSANDRA__PASSWORD": servers.password["cassandra_superuser"],
    }


@contextlib.contextmanager
def _logged_in(servers: SecuredServers, user: str, password: str) -> Iterator[Session]:
    import ssl

    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1"), request_timeout=30)
    cluster = Cluster(
        [ports.HOST],
        port=servers.port["cassandra"],
        protocol_version=5,
        auth_provider=PlainTextAuthProvider(user, password),
        ssl_context=ssl.create_default_context(cafile=str(servers.ca)),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def _cassandra_login(servers: SecuredServers, name: str) -> dict[str, str]:
    return {
        "LOCKSTEP_CASSANDRA__USERNAME": f"lockstep_{name}",
        "LOCKSTEP_CASSANDRA__PASSWORD": servers.password[f"cassandra_{name}"],
    }


def test_a_change_goes_through_every_process(servers: SecuredServers, processes: Processes) -> None:
    commands = {"relay run": {}, "projector run": {}, "read-api serve": _cassandra_login(servers, "reader")}
    running = {command: processes.start(command, **settings) for command, settings in commands.items()}
    url = f"http://{ports.HOST}:{servers.port['read-api']}/read/order_by_id"
    try:
        with (
            psycopg.connect(servers.conninfo("command_api", "lockstep_command_api"), autocommit=True) as source,
            httpx.Client(timeout=15) as reader,
        ):
            assert source.pgconn.ssl_in_use
            user = uuid.uuid4()
            source.execute("insert into users (user_id, name) values (%s, 'Ada')", (user,))
            # Rows of about one TLS record and more: what a library has decrypted must not wait for the next change.
            for number, size in enumerate((2, 8_000, 12_000, 16_384, 20_000, 40_000)):
                order = uuid.uuid4()
                source.execute(
                    "insert into orders (order_id, user_id, status, region) values (%s, %s, 'placed', %s)",
                    (order, user, "e" * size),
                )
                (token,) = source.execute("select pg_current_wal_flush_lsn()::text").fetchone() or ("",)
                if number == 0:
                    _wait_until_readable(reader, f"{url}/{order}", running)
                reply = reader.get(f"{url}/{order}", headers={"Consistency-Token": token})
                assert reply.status_code == 200, reply.text
                (row,) = reply.json()["rows"]
                assert (row["order_id"], row["user_name"], len(row["region"])) == (str(order), "Ada", size)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        codes = {command: process.wait(30) for command, process in running.items()}
    assert codes == dict.fromkeys(running, 0)


def _wait_until_readable(reader: httpx.Client, url: str, running: dict[str, preloaded.Forked]) -> None:
    """The processes may still be starting."""
    deadline = time.monotonic() + 45
    while True:
        ended = {command: process.poll() for command, process in running.items() if process.poll() is not None}
        assert not ended, ended
        with contextlib.suppress(httpx.TransportError):
            reply = reader.get(url)
            if reply.status_code == 200 and reply.json()["rows"]:
                return
            assert reply.status_code in (200, 503), reply.text
        assert time.monotonic() < deadline, "not readable after 45 s"
        time.sleep(0.05)  # the deadline is above; the processes are starting


def test_each_role_may_what_it_needs_and_no_more(servers: SecuredServers, processes: Processes) -> None:
    def may(role: str, statement: str) -> bool:
        with _logged_in(servers, f"lockstep_{role}", servers.password[f"cassandra_{role}"]) as session:
            try:
                session.execute(statement)
            except Unauthorized:
                return False
        return True

    read = "SELECT * FROM lockstep.projection_positions LIMIT 1"
    write = (
        "INSERT INTO lockstep.projection_positions (projection, read_model, shard, lsn) VALUES ('none', 'none', 0, 1)"
    )
    assert {role: (may(role, read), may(role, write)) for role in ("setup", "projector", "reader")} == {
        "setup": (True, True),
        "projector": (True, True),
        "reader": (True, False),
    }
    for role in ("projector", "reader"):
        for statement in (
            "CREATE TABLE lockstep.mine (a int PRIMARY KEY)",
            "ALTER TABLE lockstep.order_by_id ADD mine int",
            "DROP TABLE lockstep.order_by_id",
            "CREATE KEYSPACE mine WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
            "SELECT * FROM system_auth.roles",
            f"GRANT MODIFY ON KEYSPACE lockstep TO lockstep_{role}",
        ):
            assert not may(role, statement), (role, statement)
    assert not may("setup", "SELECT * FROM system_auth.roles")

    # What somebody gave beside it is taken back; a permission is remembered for two seconds.
    with _logged_in(servers, "cassandra", servers.password["cassandra_superuser"]) as session:
        session.execute("GRANT MODIFY ON lockstep.projection_positions TO lockstep_reader")
        session.execute("GRANT DROP ON ALL KEYSPACES TO lockstep_projector")
        _wait_until(lambda: may("reader", write), "the reader was given too much")
        code, said = processes.run("projector roles", "again", **_roles(servers))
        assert code == 0, said[-3000:]
        assert said.count('"taken back"') == 2
        _wait_until(lambda: not may("reader", write), "it was taken back")
        granted = {
            (row.role, row.resource, row.permission)
            for role in ("projector", "reader")
            for row in session.execute(f"LIST ALL PERMISSIONS OF lockstep_{role}")
        }
    space = "<keyspace lockstep>"
    assert granted == {
        ("lockstep_projector", space, "SELECT"),
        ("lockstep_projector", space, "MODIFY"),
        ("lockstep_reader", space, "SELECT"),
    }


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)  # the deadline is above; a cache that expires tells nobody


def test_the_default_password_is_replaced_once(servers: SecuredServers, processes: Processes) -> None:
    with pytest.raises(NoHostAvailable) as refused, _logged_in(servers, "cassandra", "cassandra"):
        pass
    assert all(isinstance(cause, AuthenticationFailed) for cause in refused.value.errors.values())
    code, said = processes.run("projector roles --replace-default-password", "again", **_roles(servers))
    assert code == 0, said[-3000:]
    assert REPLACED not in said


@pytest.mark.parametrize(
    ("label", "login"),
    [
        ("to itself", {"LOCKSTEP_CASSANDRA__PASSWORD": "cassandra"}),
        ("of somebody else", {"LOCKSTEP_CASSANDRA__USERNAME": "lockstep_setup"}),
    ],
)
def test_the_default_password_is_not_replaced_by_what_cannot_be(
    servers: SecuredServers, processes: Processes, label: str, login: dict[str, str]
) -> None:
    code, said = processes.run("projector roles --replace-default-password", label, **(_roles(servers) | login))
    assert code == 1
    assert "set cassandra.username to cassandra" in said
    assert "cassandra.password to another one" in said
    assert "Traceback" not in said


def test_roles_can_be_made_by_a_superuser_only(servers: SecuredServers, processes: Processes) -> None:
    code, said = processes.run(
        "projector roles", "as the reader", **(_roles(servers) | _cassandra_login(servers, "reader"))
    )
    assert code == 1
    assert "must be a superuser" in said
    assert "Traceback" not in said


def test_what_is_refused_ends_each_process_with_the_setting_to_look_at(
    servers: SecuredServers, processes: Processes
) -> None:
    def outcome(case: tuple[str, str, str]) -> str:
        command, server, kind = case
        settings, expected = _wrong(servers, command, server, kind)
        code, said = processes.run(command, f"with a wrong {server} {kind}", **settings)
        missing = [words for words in expected if words not in said]
        return "" if code == 1 and not missing else f"{case}: ended with {code}, without {missing}: …{said[-1500:]}"

    with ThreadPoolExecutor(3) as pool:
        failures = [failure for failure in pool.map(outcome, WRONGS) if failure]
    assert not failures, "\n\n".join(failures)


def _wrong(servers: SecuredServers, command: str, server: str, kind: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables over the file that make one thing wrong, and the words that the error must hold."""
    # A replica and ports of its own, so that cases can run side by side.
    own = {
        "LOCKSTEP_PROJECTOR__REPLICA": str(servers.folder / f"{uuid.uuid4()}.sqlite"),
        "LOCKSTEP_READ_API__PORT": "0",
        "LOCKSTEP_COMMAND_API__PORT": "0",
        "LOCKSTEP_REFRESH__METRICS_PORT": "0",
    }
    password, authority = kind == "password", str(servers.other_ca)
    if command == "projector setup" and server == "postgres":
        own |= _cassandra_login(servers, "setup")  # it makes the keyspace first
    if command.startswith("projector roles"):
        own |= _roles(servers)
    if server == "postgres":
        roles = {"relay run": "relay", "command-api serve": "command_api"}
        role = "refresher" if "refresh" in command else roles.get(command, "admin")
        user = "postgres" if role == "admin" else f"lockstep_{role}"
        broken = {"password": WRONG} if password else {"sslrootcert": authority}
        own[f"LOCKSTEP_POSTGRES__{role.upper()}"] = servers.conninfo(role, user, **broken)
        named = f"LOCKSTEP_POSTGRES__{role.upper()}" if command.startswith("command-api") else f"postgres.{role}"
        return own, tuple(words.replace("postgres.{role}", named) for words in POSTGRES[kind])
    if server == "kafka":
        text = servers.settings().replace(
            *(
                (servers.password["kafka"], WRONG)
                if password
                else (f'location" = "{servers.ca}', f'location" = "{authority}')
            )
        )
        file = servers.folder / f"{uuid.uuid4()}.toml"
        file.write_text(text, encoding="utf-8")
        return own | {"LOCKSTEP_FILE": str(file)}, KAFKA[kind]
    broken = {"LOCKSTEP_CASSANDRA__PASSWORD": WRONG} if password else {"LOCKSTEP_CASSANDRA__CA_FILE": authority}
    return own | broken, CASSANDRA[kind]


@pytest.mark.parametrize("command", ["command-api migrate", "relay setup", "projector setup", "read-api serve"])
def test_a_misspelt_setting_is_named_without_its_value(processes: Processes, command: str) -> None:
    code, said = processes.run(command, "misspelt", LOCKSTEP_CASSANDRA__PASWORD=WRONG)
    assert code == 1
    assert "cassandra.pasword" in said
    assert WRONG not in said
    assert "Traceback" not in said


def test_no_process_has_said_a_password(servers: SecuredServers, processes: Processes) -> None:
    # The last of the module: everything that has been said by now is looked at.
    said = {command: path.read_text(encoding="utf-8", errors="replace") for command, path in processes.said.items()}
    assert len(said) > len(WRONGS)
    for command in ("relay run", "projector run", "read-api serve"):
        assert '"level": "debug"' in said[command], f"{command} logged nothing at debug level"
    told = [
        (command, name)
        for command, text in said.items()
        for name, password in {**servers.password, "wrong": WRONG}.items()
        if password in text
    ]
    assert told == []
