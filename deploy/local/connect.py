"""Kafka Connect with Debezium's PostgreSQL connector: one standalone worker, configured by the files in deploy/debezium/.

No part of a stack: who wants it in the relay's place starts it beside one. `Part.environment` has the variables that the
connector's file asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import httpx
from psycopg.conninfo import conninfo_to_dict

from deploy.local import folders, java, ports
from deploy.local.kafka import LOG4J2
from deploy.local.part import Part

FILES = folders.TREE / "deploy" / "debezium"
CONNECTOR = "lockstep"


def variables(*, conninfo: str, slot: str, publication: str, topic: str) -> dict[str, str]:
    """What deploy/debezium/connector.json takes from the environment; holds the password of `conninfo`'s role."""
    given = conninfo_to_dict(conninfo)
    return {
        "LOCKSTEP_DEBEZIUM_HOST": str(given.get("host", ports.HOST)),
        "LOCKSTEP_DEBEZIUM_PORT": str(given.get("port", 5432)),
        "LOCKSTEP_DEBEZIUM_DATABASE": str(given["dbname"]),
        "LOCKSTEP_DEBEZIUM_USER": str(given["user"]),
        "LOCKSTEP_DEBEZIUM_PASSWORD": str(given.get("password", "")),
        "LOCKSTEP_RELAY__SLOT": slot,
        "LOCKSTEP_RELAY__PUBLICATION": publication,
        "LOCKSTEP_KAFKA__TOPIC": topic,
    }


def streams(port: int) -> bool:
    """Whether the connector and its task run, as the worker's REST interface says."""
    if not ports.listens(port):
        return False
    try:
        status = httpx.get(f"http://{ports.HOST}:{port}/connectors/{CONNECTOR}/status", timeout=1).json()
    except (httpx.HTTPError, ValueError):  # it serves pages of errors before it serves answers
        return False
    tasks = status.get("tasks", [])
    return bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)


def part(
    *,
    folder: Path,
    port: int,
    bootstrap_servers: str,
    jars: tuple[Path, ...],
    environment: Mapping[str, str],
    more: Mapping[str, str] | None = None,
    options: tuple[str, ...] = ("-XX:+UseG1GC",),
) -> Part:
    """The worker. Writes its configuration into `folder`; port: of its REST interface; more: entries of the connector.

    options: of Java, beside its heap.
    """
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "worker.properties"
    own = f"bootstrap.servers={bootstrap_servers}\nlisteners=http://{ports.HOST}:{port}\n"
    properties.write_text((FILES / "worker.properties").read_text(encoding="utf-8") + own, encoding="utf-8")
    connector = folder / "connector.json"
    given = json.loads((FILES / "connector.json").read_text(encoding="utf-8"))
    connector.write_text(json.dumps({**given, "config": {**given["config"], **(more or {})}}), encoding="utf-8")
    log4j2 = folder / "log4j2.properties"
    log4j2.write_text(LOG4J2, encoding="utf-8")
    every = ("-Xms256m", "-Xmx512m", *options, f"-Dlog4j2.configurationFile={log4j2}")
    command = java.command(java.program(), jars, "org.apache.kafka.connect.cli.ConnectStandalone", options=every)
    return Part(
        name="connect",
        kind="server",
        argv=(*command, str(properties), str(connector)),
        environment=environment,
        folder=folder,
        answers=lambda: streams(port),
        address=f"{ports.HOST}:{port}",
    )
