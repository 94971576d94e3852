"""The files with secrets that compose.yaml mounts, one a process: each holds what that process logs in with and no more.

    set-up.toml  cassandra-roles.toml  projector-setup.toml  command-api.toml  relay.toml  projector.toml  refresher.toml
    read-api.toml  demo.toml   settings
    postgres-password          the superuser's, for the Postgres container
    metrics-token              a bearer token for Prometheus, with the scope `metrics` alone

Random passwords are made once and kept (passwords.json), so that the command may be repeated on a database that knows them.
The folder is its owner's alone; the files in it are readable, because a container's user is another one and reaches them
through the mount. Managed servers have passwords and addresses of their own: then these files are written by hand or by a
secret store, in this form.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from command_api.process.access.mint import mint
from command_api.process.settings import Auth
from deploy.containers.errors import SecretsError
from deploy.local.apps import CASSANDRA_ROLES, ROLES
from deploy.local.passwords import kept

KEY: Final = "compose"  # the id of the key that tokens are signed with
SIGNING: Final = "signing"  # its name among the passwords
NAMES: Final = (*ROLES, *CASSANDRA_ROLES, SIGNING)  # of the passwords
METRICS_S: Final = 10 * 365 * 86_400
_LOGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "set-up": tuple(ROLES),
    "cassandra-roles": (),
    "projector-setup": ("admin", "relay"),  # the latter for what it may build, which is verified as a worker does
    "command-api": ("command_api",),
    "relay": ("relay",),
    "projector": ("relay",),  # a worker that verifies logs in as the relay does
    "refresher": ("refresher",),
    "read-api": ("reader",),
    "demo": ("command_api", "reader", "refresher"),
}
_CASSANDRA_LOGINS: Final[Mapping[str, Mapping[str, str]]] = {  # by table of the file
    "cassandra-roles": {
        "cassandra": "cassandra",
        "cassandra_roles.setup": "cassandra_setup",
        "cassandra_roles.projector": "cassandra_projector",
        "cassandra_roles.reader": "cassandra_reader",
    },
    "projector-setup": {"cassandra": "cassandra_setup"},
    "projector": {"cassandra": "cassandra_projector"},
    "read-api": {"cassandra": "cassandra_reader"},
    "demo": {"cassandra": "cassandra_reader"},
}
_SIGNED: Final = frozenset({"command-api", "read-api", "demo"})


def texts(passwords: Mapping[str, str], *, host: str, port: int, database: str) -> dict[str, str]:
    """File name → content. passwords: of all NAMES. host, port: of Postgres, as the processes see it."""
    auth = Auth(hs256_secrets={KEY: SecretStr(passwords[SIGNING])})

    def settings(name: str) -> str:
        logins = {
            role: make_conninfo(host=host, port=port, dbname=database, user=ROLES[role], password=passwords[role])
            for role in _LOGINS[name]
        }
        tables = [_table("postgres", logins)] if logins else []
        for title, role in _CASSANDRA_LOGINS.get(name, {}).items():
            tables.append(_table(title, {"username": CASSANDRA_ROLES[role], "password": passwords[role]}))
        if name in _SIGNED:
            tables.append(_table("auth.hs256_secrets", {KEY: passwords[SIGNING]}))
        return "\n".join(tables)

    found = {f"{name}.toml": settings(name) for name in _LOGINS}
    found["postgres-password"] = passwords["admin"]
    found["metrics-token"] = mint(auth, subject="prometheus", scopes="metrics", seconds=METRICS_S)
    return found


def _table(title: str, entries: Mapping[str, str]) -> str:
    return "".join((f"[{title}]\n", *(f"{name} = {json.dumps(value)}\n" for name, value in entries.items())))


def write(folder: Path, *, host: str = "postgres", port: int = 5432, database: str = "app") -> list[Path]:
    """Write the files below `folder`, made if missing. Raises SecretsError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        passwords = kept(folder / "passwords.json", NAMES)
        written = []
        for name, text in texts(passwords, host=host, port=port, database=database).items():
            path = folder / name
            unfinished = folder / f"{name}.{secrets.token_hex(4)}"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.chmod(0o644)
            unfinished.replace(path)
            written.append(path)
    except OSError as error:
        raise SecretsError(
            f"the secrets can't be written to {folder}: {error.strerror or error}", hint="choose another --folder"
        ) from error
    return written
