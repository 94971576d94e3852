"""Configuration texts, and the settings that lead the project's processes to the servers."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from command_api.process.settings import CassandraRoles, Settings
from deploy.local import apps, cassandra, folders, kafka, passwords, plan, ports, postgres
from deploy.local.part import Account

PORTS = {name: 20_000 + number for number, name in enumerate(ports.NAMES)}
PASSWORDS = {name: f"secret of {name}" for name in apps.PASSWORDS}


def test_the_processes_read_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    passwords.write_private(file, apps.render(apps.settings(tmp_path, PORTS, PASSWORDS, roles=True)))
    for variable in [name for name in os.environ if name.startswith("LOCKSTEP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("LOCKSTEP_FILE", str(file))
    settings = Settings()
    assert "password='secret of relay'" in settings.postgres.relay.get_secret_value()
    assert "user=lockstep_relay" in settings.postgres.relay.get_secret_value()
    assert settings.kafka.bootstrap_servers == f"127.0.0.1:{PORTS['kafka']}"
    assert settings.cassandra.port == PORTS["cassandra"]
    assert settings.cassandra.username == settings.cassandra_roles.setup.username
    assert settings.cassandra.password is not None
    assert settings.cassandra.password.get_secret_value() == "secret of cassandra_setup"
    assert settings.projector.replica == tmp_path / "replica.sqlite"
    assert settings.read_api.port == PORTS["read-api"]


def test_what_holds_passwords_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    made = passwords.kept(file, ("admin", "relay"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made["admin"] != made["relay"]
    assert len(made["admin"]) >= 32
    assert passwords.kept(file, ("admin", "relay", "reader")).items() >= made.items()


def test_variables_that_would_override_the_file_do_not_reach_the_processes(tmp_path: Path) -> None:
    inherited = {
        "PATH": "/bin",
        "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS": "elsewhere:9092",
        "LOCKSTEP_POSTGRES": "{}",
        "LOCKSTEP_CASSANDRA__USERNAME": "somebody",
        "LOCKSTEP_RELAY__HEARTBEAT_MS": "50",
    }
    given = apps.environment(
        inherited, apps.settings(tmp_path, PORTS, PASSWORDS, roles=True), tmp_path / "settings.toml"
    )
    assert given["LOCKSTEP_FILE"] == str(tmp_path / "settings.toml")
    assert given["LOCKSTEP_RELAY__HEARTBEAT_MS"] == "50"
    assert "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS" not in given
    assert "LOCKSTEP_POSTGRES" not in given
    assert "LOCKSTEP_CASSANDRA__USERNAME" not in given


def test_each_process_logs_in_to_cassandra_as_the_role_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [name for name in os.environ if name.startswith("LOCKSTEP_")]:
        monkeypatch.delenv(variable)
    made = {part.name: part for part in plan.make(tmp_path, asked_ports={}, only=(), throw_away=False).parts}
    roles = CassandraRoles()
    expected = {
        "cassandra-roles": "cassandra",
        "projector-setup": roles.setup.username,
        "cassandra-grants": "cassandra",
        "projector": roles.projector.username,
        "read-api": roles.reader.username,
    }
    found = {}
    for name in expected:
        with monkeypatch.context() as patch:
            for variable, value in made[name].environment.items():
                patch.setenv(variable, value)
            settings = Settings()
        found[name] = settings.cassandra.username
        assert settings.cassandra.password is not None
        given = {login.username for _, login in settings.cassandra_roles if login.password is not None}
        assert given == ({login.username for _, login in roles} if expected[name] == "cassandra" else set())
    assert found == expected
    assert "PasswordAuthenticator" in (tmp_path / "cassandra" / "conf" / "cassandra.yaml").read_text()
    servers = plan.make(tmp_path, asked_ports={}, only=plan.SERVERS, throw_away=False)
    assert "Authenticator" not in (tmp_path / "cassandra" / "conf" / "cassandra.yaml").read_text()
    assert "username" not in servers.settings_file.read_text(), "nobody asks for it"
    folders.remove_data(tmp_path)  # root's PostgreSQL may have its data elsewhere


def test_the_settings_are_toml(tmp_path: Path) -> None:
    sections = apps.settings(tmp_path, PORTS, PASSWORDS | {"admin": "quote \" ' back\\slash"}, roles=True)
    assert tomllib.loads(apps.render(sections)) == sections


def test_every_line_of_cassandras_configuration_is_a_name_and_json(tmp_path: Path) -> None:
    text = cassandra.configuration(home=tmp_path, port=1, storage_port=2)
    entries = {name: json.loads(value) for name, value in (line.split(": ", 1) for line in text.splitlines())}
    assert entries["native_transport_port"] == 1
    assert entries["batch_size_fail_threshold"] == "1024KiB"
    assert entries["listen_address"] == entries["rpc_address"] == "127.0.0.1"


def test_postgres_serves_loopback_only_with_logical_wal_and_asks_for_passwords(tmp_path: Path) -> None:
    text = postgres.configuration(5)
    assert "listen_addresses = '127.0.0.1'\n" in text
    assert "unix_socket_directories = ''\n" in text
    assert "wal_level = 'logical'\n" in text
    assert "--auth=scram-sha-256" in postgres.initdb_arguments(tmp_path, tmp_path)


def test_kafka_takes_records_of_64_mebibytes_and_makes_no_topic_by_itself(tmp_path: Path) -> None:
    lines = kafka.configuration(data=tmp_path, port=1, controller_port=2).splitlines()
    assert {"message.max.bytes=67108864", "replica.fetch.max.bytes=67108864"} <= set(lines)
    assert "auto.create.topics.enable=false" in lines


def test_the_plan_starts_servers_then_set_up_then_processes(tmp_path: Path) -> None:
    made = plan.make(tmp_path, asked_ports={}, only=(), throw_away=False)
    before = {part.name: part.after for part in made.parts}
    assert before["relay-setup"] == ("migrate", "kafka")
    assert before["projector"] == ("relay-setup", "cassandra-grants")
    assert [part.name for part in made.parts if part.kind == "server"] == ["postgres", "kafka", "cassandra"]
    again = plan.make(tmp_path, asked_ports={}, only=plan.SERVERS, throw_away=False)
    assert {part.address for part in again.parts if part.address} <= {part.address for part in made.parts}
    judge = plan.make(tmp_path, asked_ports={}, only=("postgres",), throw_away=True)
    assert {part.name for part in judge.parts} <= {"postgres-init", "postgres"}
    assert "postgres" in {part.name for part in judge.parts}
    folders.remove_data(tmp_path)  # root's PostgreSQL may have its data elsewhere


@pytest.mark.parametrize(
    ("mode", "owner", "group", "expected"),
    [
        (0o755, 0, 0, True),
        (0o700, 0, 0, False),
        (0o700, 101, 0, True),
        (0o070, 101, 104, False),  # the owner's own bits count, even when the group's are better
        (0o710, 0, 104, True),
        (0o701, 0, 104, False),
    ],
)
def test_who_may_pass_through_a_folder(mode: int, owner: int, group: int, expected: bool) -> None:
    account = Account(name="postgres", uid=101, gid=104)
    assert folders.searchable(mode, owner, group, account) is expected


def test_no_cluster_id_looks_like_an_option() -> None:
    assert not [text for text in (kafka.cluster_id() for _ in range(3_000)) if text.startswith("-")]
