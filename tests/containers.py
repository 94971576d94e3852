"""PostgreSQL, Kafka and Cassandra as containers, for the tests that otherwise have embedded ones: same versions, same fixtures.

testcontainers starts and removes them; which images is `deploy.containers.images`. Each publishes one port, on loopback
only, that stays the same when it is restarted: so the engine must be this machine's own. An engine that doesn't answer,
an image that can't be had or a server that doesn't start is a failure with the remedy, never a skip.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from deploy.containers import images
from deploy.local import cassandra, kafka, ports, postgres

PASSWORD = "only-on-loopback"
_START_S = 300.0
_ONLY_EMBEDDED = frozenset({"listen_addresses", "unix_socket_directories"})
_INITDB = "--locale=C --locale-provider=builtin --builtin-locale=C.UTF-8"
_BROKER = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,BROKER://localhost:9093,CONTROLLER://localhost:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_MESSAGE_MAX_BYTES": str(kafka.MAX_MESSAGE_BYTES),
    "KAFKA_REPLICA_FETCH_MAX_BYTES": str(kafka.MAX_MESSAGE_BYTES),
}
_NODE = {
    "CASSANDRA_CLUSTER_NAME": "lockstep-test",
    "CASSANDRA_ENDPOINT_SNITCH": "GossipingPropertyFileSnitch",
    "CASSANDRA_DC": "datacenter1",
    "CASSANDRA_NUM_TOKENS": "1",
    "MAX_HEAP_SIZE": "1024M",
    "HEAP_NEWSIZE": "128M",
    # A node alone has nobody to gossip with.
    "JVM_OPTS": "-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1",
}


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Where they are, all on loopback: the superuser's conninfo on database postgres, and ports."""

    postgres_admin: str
    kafka_port: int
    cassandra_port: int


@contextmanager
def started(environment: Mapping[str, str] = os.environ) -> Iterator[Containers]:
    """Start the three, wait until each answers a query, remove them with their data at the end."""
    port = ports.choose({}, {})
    admin = postgres.conninfo(port["postgres"], postgres.SUPERUSER, PASSWORD, "postgres")
    entries = {name: value for name, value in postgres.MAIN_CONFIGURATION.items() if name not in _ONLY_EMBEDDED}
    server = ["postgres", *(word for name, value in entries.items() for word in ("-c", f"{name}={value}"))]
    advertised = f"PLAINTEXT://{ports.HOST}:{port['kafka']},BROKER://localhost:9093"
    with ExitStack() as stack:

        def start(
            image: images.Image, inside: int, outside: int, given: dict[str, str], command: list[str] | None = None
        ) -> DockerContainer:
            container = DockerContainer(image.name(environment)).with_envs(**given).with_kwargs(shm_size="256m")
            if command is not None:
                container.with_command(command)
            container.ports[f"{inside}/tcp"] = (ports.HOST, outside)
            stack.callback(container.stop)  # also what was created, but could not be started
            container.start()
            return container

        try:
            running = {
                "postgres": start(
                    images.POSTGRES, 5432, port["postgres"],
                    {"POSTGRES_USER": postgres.SUPERUSER, "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_INITDB_ARGS": _INITDB},
                    server,
                ),
                "kafka": start(images.KAFKA, 9092, port["kafka"], {**_BROKER, "KAFKA_ADVERTISED_LISTENERS": advertised}),
                "cassandra": start(images.CASSANDRA, 9042, port["cassandra"], _NODE),
            }  # fmt: skip
        except DockerException as error:
            pytest.fail(
                f"containers can't be started: {error}\n  → without a Docker engine: eval \"$(python -m deploy.containers"
                ' engine up)"; where the images can\'t be pulled: eval "$(python -m deploy.containers images)"',
                pytrace=False,
            )
        until = time.monotonic() + _START_S
        _wait("postgres", running["postgres"], lambda: postgres.answers(admin), until)
        _wait("kafka", running["kafka"], lambda: kafka.answers(port["kafka"]), until)
        _wait("cassandra", running["cassandra"], lambda: cassandra.answers(port["cassandra"]), until)
        yield Containers(postgres_admin=admin, kafka_port=port["kafka"], cassandra_port=port["cassandra"])


def _wait(name: str, container: DockerContainer, answers: Callable[[], bool], until: float) -> None:
    while not answers():
        wrapped = container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status not in ("created", "running") or time.monotonic() > until:
            said = b"".join(container.get_logs()).decode(errors="replace")[-4_000:]
            pytest.fail(f"{name} ({container.image}) is {wrapped.status} and does not answer:\n{said}", pytrace=False)
        time.sleep(0.1)  # the deadline is above; the server is another process
