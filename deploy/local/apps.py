"""The project's own processes, and the settings file that leads them to the servers.

They read ``.local/settings.toml`` (mode 0600: it holds passwords) through LOCKSTEP_FILE; any command can be run by hand
against the local stack the same way: ``LOCKSTEP_FILE=.local/settings.toml relay status``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import folders, ports, postgres
from deploy.local.part import Part

ROLES = {
    "admin": postgres.SUPERUSER,
    "command_api": "lockstep_command_api",
    "relay": "lockstep_relay",
    "reader": "lockstep_reader",
    "refresher": "lockstep_refresher",
}
CASSANDRA_ROLES = {
    "cassandra": "cassandra",  # the superuser, who makes the others
    "cassandra_setup": "lockstep_setup",
    "cassandra_projector": "lockstep_projector",
    "cassandra_reader": "lockstep_reader",
}
PASSWORDS = (*ROLES, *CASSANDRA_ROLES)
"""Names of all passwords."""

Sections = dict[str, dict[str, str | int | list[str]]]


def settings(stack_folder: Path, port: Mapping[str, int], passwords: Mapping[str, str], *, roles: bool) -> Sections:
    """Section → field → value, as `command_api.process.settings` names them. Holds passwords.

    roles: whether Cassandra has any. Then whoever runs a command by hand is the set-up, which may do all that there is to
    do in the keyspace.
    """
    login = _login("cassandra_setup", passwords) if roles else {}
    return {
        "postgres": {
            field: postgres.conninfo(port["postgres"], role, passwords[field]) for field, role in ROLES.items()
        },
        "kafka": {"bootstrap_servers": f"{ports.HOST}:{port['kafka']}"},
        "cassandra": {"contact_points": [ports.HOST], "port": port["cassandra"], **login},
        "command_api": {"port": port["command-api"], "read_api": f"http://{ports.HOST}:{port['read-api']}"},
        "relay": {"metrics_port": port["relay-metrics"]},
        "projector": {"metrics_port": port["projector-metrics"], "replica": str(stack_folder / "replica.sqlite")},
        "refresh": {"metrics_port": port["refresher-metrics"]},
        "read_api": {
            "port": port["read-api"],
            "worker_metrics": [f"http://{ports.HOST}:{port['projector-metrics']}/metrics"],
            "relay_metrics": f"http://{ports.HOST}:{port['relay-metrics']}/metrics",
        },
    }


def render(sections: Sections) -> str:
    """As TOML; a JSON string, number or list of them is one in TOML too."""
    tables = []
    for section, fields in sections.items():
        lines = [f"{field} = {json.dumps(value)}" for field, value in fields.items()]
        tables.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(tables) + "\n"


def environment(inherited: Mapping[str, str], sections: Sections, file: Path) -> dict[str, str]:
    """`inherited` with the settings file, without the variables that would override what the file says."""
    covered = {f"LOCKSTEP_{section}__{field}".upper() for section, fields in sections.items() for field in fields}
    sectioned = {f"LOCKSTEP_{section}".upper() for section in sections}
    kept = {name: value for name, value in inherited.items() if name.upper() not in covered | sectioned}
    return kept | {"LOCKSTEP_FILE": str(file), "PYTHONUNBUFFERED": "1"}


def _login(role: str, passwords: Mapping[str, str]) -> dict[str, str]:
    return {"username": CASSANDRA_ROLES[role], "password": passwords[role]}


def _as(role: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Variables with which a process logs in to Cassandra as `role`, not as the settings file has it."""
    return {f"LOCKSTEP_CASSANDRA__{field.upper()}": value for field, value in _login(role, passwords).items()}


def parts(*, port: Mapping[str, int], environment: dict[str, str], passwords: Mapping[str, str]) -> tuple[Part, ...]:
    """Set-up tasks, each once what it needs is there, then the five long-running processes.

    In Cassandra each is the role that it needs (docs/security.md): roles first, then the keyspace, which one of them
    makes, then what is granted of it.
    """
    makes_roles = _as("cassandra", passwords) | {
        f"LOCKSTEP_CASSANDRA_ROLES__{role.removeprefix('cassandra_').upper()}": json.dumps(_login(role, passwords))
        for role in CASSANDRA_ROLES
        if role != "cassandra"
    }

    def task(name: str, *argv: str, after: tuple[str, ...], more: Mapping[str, str] | None = None) -> Part:
        return Part(
            name=name,
            kind="task",
            argv=(sys.executable, "-m", *argv),
            environment=environment | dict(more or {}),
            folder=folders.TREE,
            after=after,
        )

    def app(
        name: str, *argv: str, port_name: str, after: tuple[str, ...], more: Mapping[str, str] | None = None
    ) -> Part:
        number = port[port_name]
        return Part(
            name=name,
            kind="app",
            argv=(sys.executable, "-m", *argv),
            environment=environment | dict(more or {}),
            folder=folders.TREE,
            after=after,
            answers=lambda: ports.listens(number),
            deadline_s=60,
            patience_s=10,
            address=f"http://{ports.HOST}:{number}",
        )

    return (
        task("migrate", "command_api", "migrate", after=("postgres",)),
        task("relay-setup", "command_api.relay", "setup", after=("migrate", "kafka")),
        task(
            "cassandra-roles",
            "projector",
            "roles",
            "--replace-default-password",
            after=("cassandra",),
            more=makes_roles,
        ),
        task("projector-setup", "projector", "setup", after=("cassandra-roles", "relay-setup")),
        task("cassandra-grants", "projector", "roles", after=("projector-setup",), more=makes_roles),
        app("command-api", "command_api", "serve", port_name="command-api", after=("migrate",)),
        app("relay", "command_api.relay", "run", port_name="relay-metrics", after=("relay-setup",)),
        app(
            "projector",
            "projector",
            "run",
            port_name="projector-metrics",
            after=("relay-setup", "cassandra-grants"),
            more=_as("cassandra_projector", passwords),
        ),
        app(
            "refresher",
            "projector",
            "refresh",
            "--scheduled",
            port_name="refresher-metrics",
            after=("projector-setup",),
        ),
        app(
            "read-api",
            "read_api",
            "serve",
            port_name="read-api",
            after=("cassandra-grants",),
            more=_as("cassandra_reader", passwords),
        ),
    )
