"""Apache Kafka 4 in KRaft mode: one node that is broker and controller, on loopback.

Without authentication, unless the caller's entries of server.properties bring it."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local import folders, java, ports
from deploy.local.part import Part

MAX_MESSAGE_BYTES = 64 << 20
LOG4J2 = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


def configuration(*, data: Path, port: int, controller_port: int, more: Mapping[str, str] | None = None) -> str:
    """server.properties: internal topics without replicas, topics made by name only, records up to 64 MiB.

    more: entries over these.
    """
    entries = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{ports.HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{ports.HOST}:{port},CONTROLLER://{ports.HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{ports.HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "num.partitions": "1",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
    }
    return "".join(f"{name}={value}\n" for name, value in {**entries, **(more or {})}.items())


def cluster_id() -> str:
    """A new one, in Kafka's own spelling of a UUID; as those of Kafka, none that its command line takes for an option."""
    while (text := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text


def answers(port: int, client: Mapping[str, Any] | None = None) -> bool:
    """Whether the broker lists its topics now, to a client with these properties."""
    if not ports.listens(port):
        return False
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        asked = {"bootstrap.servers": f"{ports.HOST}:{port}", "log_level": 0, **(client or {})}
        AdminClient(asked).list_topics(timeout=1)
    except KafkaException:
        return False
    return True


def parts(
    *,
    stack_folder: Path,
    port: int,
    controller_port: int,
    jars: tuple[Path, ...],
    environment: dict[str, str],
    more: Mapping[str, str] | None = None,
    format_arguments: tuple[str, ...] = (),
    client: Mapping[str, Any] | None = None,
) -> tuple[Part, ...]:
    """The broker, after a task that formats its data folder when there is none. Writes its configuration.

    more: entries of server.properties. format_arguments: of the storage tool. client: properties that it answers to.
    """
    home = stack_folder / "kafka"
    data = home / "data"
    made = home / "formatted"  # written last, so that an interrupted format is done again
    home.mkdir(parents=True, exist_ok=True)
    properties = home / "server.properties"
    properties.write_text(
        configuration(data=data, port=port, controller_port=controller_port, more=more), encoding="utf-8"
    )
    log4j2 = home / "log4j2.properties"
    log4j2.write_text(LOG4J2, encoding="utf-8")
    program = java.program()
    before: tuple[Part, ...] = ()
    if not made.exists():
        folders.remove(data)
        argv = java.command(
            program,
            jars,
            "kafka.tools.StorageTool",
            options=("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={log4j2}"),
        )
        before = (
            Part(
                name="kafka-format",
                kind="task",
                argv=(*argv, "format", "-t", cluster_id(), "-c", str(properties), *format_arguments),
                environment=environment,
                folder=home,
                finish=made.touch,
            ),
        )
    options = ("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={log4j2}")
    broker = Part(
        name="kafka",
        kind="server",
        argv=(*java.command(program, jars, "kafka.Kafka", options=options), str(properties)),
        environment=environment,
        folder=home,
        after=tuple(part.name for part in before),
        answers=lambda: answers(port, client),
        address=f"{ports.HOST}:{port}",
    )
    return (*before, broker)
