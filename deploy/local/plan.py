"""Everything that a supervisor starts, wired together: ports, passwords, configuration files, who waits for whom."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local import apps, cassandra, download, folders, jars, kafka, passwords, ports, postgres
from deploy.local.part import Part, check_plan


@dataclass(frozen=True, kw_only=True)
class Plan:
    """parts: in starting order. settings_file: leads the project's processes to the servers."""

    parts: tuple[Part, ...]
    settings_file: Path


SERVERS = ("postgres", "kafka", "cassandra")
"""What a stack may consist of, without the project's processes."""


def make(stack_folder: Path, *, asked_ports: Mapping[str, int], only: tuple[str, ...], throw_away: bool) -> Plan:
    """Choose ports, write the configuration below `stack_folder`, and say what to start; the others as the stack's options.

    Raises MachineError's children: a port in use, a wheel that is missing.
    """
    stack_folder.mkdir(parents=True, exist_ok=True)
    port = _remembered_ports(stack_folder / "ports.json", asked_ports)
    password = passwords.kept(stack_folder / "passwords.json", apps.PASSWORDS)
    sections = apps.settings(stack_folder, port, password, roles=not only)
    settings_file = stack_folder / "settings.toml"
    passwords.write_private(settings_file, apps.render(sections))

    environment = dict(os.environ)
    cache = folders.cache_folder()
    class_path = {server: tuple(download.place(cache, jar) for jar in found) for server, found in jars.locked().items()}
    makers: dict[str, Callable[[], tuple[Part, ...]]] = {
        "postgres": lambda: postgres.parts(
            stack_folder=stack_folder, port=port["postgres"], password=password["admin"], environment=environment
        ),
        "kafka": lambda: kafka.parts(
            stack_folder=stack_folder,
            port=port["kafka"],
            controller_port=port["kafka-controller"],
            jars=class_path["kafka"],
            environment=environment,
        ),
        "cassandra": lambda: cassandra.parts(
            stack_folder=stack_folder,
            port=port["cassandra"],
            storage_port=port["cassandra-storage"],
            jars=class_path["cassandra"],
            environment=environment,
            more=None if only else cassandra.WITH_ROLES,
            throw_away=throw_away,
        ),
    }
    parts = tuple(part for server in only or SERVERS for part in makers[server]())
    if not only:
        own = apps.environment(environment, sections, settings_file)
        parts += apps.parts(port=port, environment=own, passwords=password)
    check_plan(parts)
    return Plan(parts=parts, settings_file=settings_file)


def _remembered_ports(file: Path, asked: Mapping[str, int]) -> dict[str, int]:
    try:
        remembered = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        remembered = {}
    chosen = ports.choose(asked, remembered)
    file.write_text(json.dumps(chosen, indent=1), encoding="utf-8")
    return chosen
