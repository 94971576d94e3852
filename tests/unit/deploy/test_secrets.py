"""The files with secrets: each process's logins and no more, settings that load, made once."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import jwt
import pytest
from psycopg.conninfo import conninfo_to_dict

from command_api.process.access.keys import keys_of
from command_api.process.settings import Settings
from deploy.containers import secrets
from deploy.containers.errors import SecretsError
from projector.cassandra.roles import roles

PASSWORDS = {name: f"of-{name}-{'x' * 40}" for name in secrets.NAMES}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "logins", "cassandra"),
    [
        ("set-up", {"admin", "command_api", "relay", "reader", "refresher"}, None),
        ("cassandra-roles", set(), "cassandra"),
        ("projector-setup", {"admin", "relay"}, "cassandra_setup"),
        ("command-api", {"command_api"}, None),
        ("relay", {"relay"}, None),
        ("projector", {"relay"}, "cassandra_projector"),
        ("refresher", {"refresher"}, None),
        ("read-api", {"reader"}, "cassandra_reader"),
        ("demo", {"command_api", "reader", "refresher"}, "cassandra_reader"),
    ],
)
def test_a_process_has_its_own_logins_and_nobody_elses(name: str, logins: set[str], cassandra: str | None) -> None:
    text = secrets.texts(PASSWORDS, host="db.example", port=6432, database="shop")[f"{name}.toml"]
    found = tomllib.loads(text)
    assert set(found.get("postgres", ())) == logins
    for role in logins:
        login = conninfo_to_dict(found["postgres"][role])
        assert login == {
            "host": "db.example",
            "port": "6432",
            "dbname": "shop",
            "user": secrets.ROLES[role],
            "password": PASSWORDS[role],
        }
    known = logins | ({cassandra} if cassandra is not None else set())
    assert found.get("cassandra") == (
        {"username": secrets.CASSANDRA_ROLES[cassandra], "password": PASSWORDS[cassandra]} if cassandra else None
    )
    assert ("cassandra_roles" in found) is (name == "cassandra-roles")
    if name == "cassandra-roles":
        known |= set(secrets.CASSANDRA_ROLES)
    others = {password for role, password in PASSWORDS.items() if role not in known and role != secrets.SIGNING}
    assert not [password for password in others if password in text]
    assert ("auth" in found) is (name in ("command-api", "read-api", "demo"))


def test_a_file_is_what_a_process_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.write(tmp_path)
    monkeypatch.setenv("LOCKSTEP_FILE", str(tmp_path / "read-api.toml"))
    settings = Settings()
    login = conninfo_to_dict(settings.postgres.reader.get_secret_value())
    assert (login["host"], login["user"]) == ("postgres", "lockstep_reader")
    assert keys_of(settings.auth) is not None
    assert settings.cassandra.username == "lockstep_reader"
    assert settings.cassandra.password is not None


def test_who_makes_the_roles_in_cassandra_has_the_password_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets.write(tmp_path)
    monkeypatch.setenv("LOCKSTEP_FILE", str(tmp_path / "cassandra-roles.toml"))
    settings = Settings()
    made = {role.name: role.password for role in roles(settings.cassandra_roles, settings.cassandra.keyspace)}
    assert sorted(made) == ["lockstep_projector", "lockstep_reader", "lockstep_setup"]
    for name, role in (("projector-setup", "setup"), ("projector", "projector"), ("read-api", "reader")):
        login = tomllib.loads((tmp_path / f"{name}.toml").read_text())["cassandra"]
        assert login == {"username": f"lockstep_{role}", "password": made[f"lockstep_{role}"]}


def test_prometheus_may_read_metrics_and_nothing_else() -> None:
    texts = secrets.texts(PASSWORDS, host="h", port=1, database="d")
    claims = jwt.decode(texts["metrics-token"], PASSWORDS[secrets.SIGNING], algorithms=["HS256"], audience="lockstep")
    assert claims["scope"] == "metrics"


def test_passwords_are_made_once_and_the_folder_is_its_owners(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    written = secrets.write(folder)
    before = {path: path.read_text() for path in written if path.suffix == ".toml"}
    secrets.write(folder)
    assert {path: path.read_text() for path in before} == before
    assert mode(folder) == 0o700
    assert mode(folder / "passwords.json") == 0o600
    assert {mode(path) for path in written} == {0o644}, "a container's user is another one"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(p.name for p in written), "passwords.json"])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretsError, match=r"file/secrets.*Not a directory"):
        secrets.write(tmp_path / "file" / "secrets")
