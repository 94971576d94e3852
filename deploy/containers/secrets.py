"""The files with secrets that compose.yaml mounts, one a process: each holds what that process logs in with and no more.

    set-up.toml  command-api.toml  relay.toml  projector.toml  refresher.toml  read-api.toml  demo.toml   settings
    postgres-password    the superuser's, for the Postgres container
    metrics-token        a bearer token for Prometheus, with the scope `metrics` alone

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
from deploy.local.passwords import kept

ROLES: Final[Mapping[str, str]] = {
    "admin": "postgres",
    "command_api": "lockstep_command_api",
    "relay": "lockstep_relay",
    "reader": "lockstep_reader",
    "refresher": "lockstep_refresher",
}
KEY: Final = "compose"  # the id of the key that tokens are signed with
SIGNING: Final = "signing"  # its name among the passwords
METRICS_S: Final = 10 * 365 * 86_400
_LOGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "set-up": tuple(ROLES),
    "command-api": ("command_api",),
    "relay": ("relay",),
    "projector": ("relay",),  # a worker that verifies logs in as the relay does
    "refresher": ("refresher",),
    "read-api": ("reader",),
    "demo": ("command_api", "reader", "refresher"),
}
_SIGNED: Final = frozenset({"command-api", "read-api", "demo"})


def texts(passwords: Mapping[str, str], *, host: str, port: int, database: str) -> dict[str, str]:
    """File name → content. passwords: of every role and of SIGNING. host, port: of Postgres, as the processes see it."""
    auth = Auth(hs256_secrets={KEY: SecretStr(passwords[SIGNING])})

    def settings(name: str) -> str:
        logins = {
            role: make_conninfo(host=host, port=port, dbname=database, user=ROLES[role], password=passwords[role])
            for role in _LOGINS[name]
        }
        lines = ["[postgres]", *(f"{role} = {json.dumps(conninfo)}" for role, conninfo in logins.items())]
        if name in _SIGNED:
            lines += ["", "[auth.hs256_secrets]", f"{KEY} = {json.dumps(passwords[SIGNING])}"]
        return "\n".join(lines) + "\n"

    found = {f"{name}.toml": settings(name) for name in _LOGINS}
    found["postgres-password"] = passwords["admin"]
    found["metrics-token"] = mint(auth, subject="prometheus", scopes="metrics", seconds=METRICS_S)
    return found


def write(folder: Path, *, host: str = "postgres", port: int = 5432, database: str = "app") -> list[Path]:
    """Write the files below `folder`, made if missing. Raises SecretsError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        passwords = kept(folder / "passwords.json", (*ROLES, SIGNING))
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
