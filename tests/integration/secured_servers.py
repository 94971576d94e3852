"""Servers that let nobody in without TLS and a password: the local stack's own, with other entries in their files.

Kafka listens on SASL_SSL with SCRAM-SHA-256, Cassandra on TLS with password authentication and permissions, and
PostgreSQL, whose wheel is built without TLS, with SCRAM behind `tls_endpoint`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import make_conninfo
from rich.console import Console
from tls_endpoint import tls_endpoint

from deploy.local import cassandra, download, folders, jars, kafka, ports, postgres
from deploy.local.child import Child
from deploy.local.part import Part, startable
from tests.conftest import FOR_MINUTES

SMALLER = {"-Xms1g": "-Xms512m", "-Xmx1g": "-Xmx512m", "-Xms512m": "-Xms256m", "-Xmx512m": "-Xmx256m"}
ROLES = (
    "admin",
    "command_api",
    "relay",
    "reader",
    "refresher",
    "kafka",
    "cassandra_superuser",
    "cassandra_setup",
    "cassandra_projector",
    "cassandra_reader",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecuredServers:
    """folder: of everything. ca, other_ca: PEM files, the second vouches for nothing here. port: by `ports.NAMES`.

    postgres_port: of the TLS endpoint. password: by `ROLES`.
    """

    folder: Path
    ca: Path
    other_ca: Path
    port: dict[str, int]
    postgres_port: int
    password: dict[str, str]

    def conninfo(self, role: str, user: str, **more: str) -> str:
        """libpq's for a role, fully verified."""
        given = postgres.conninfo(self.postgres_port, user, self.password[role])
        return make_conninfo(given, **{"sslmode": "verify-full", "sslrootcert": str(self.ca), **more})

    def settings(self) -> str:
        """The settings file of every process."""
        return f"""\
[postgres]
admin = "{self.conninfo("admin", postgres.SUPERUSER)}"
command_api = "{self.conninfo("command_api", "lockstep_command_api")}"
relay = "{self.conninfo("relay", "lockstep_relay")}"
reader = "{self.conninfo("reader", "lockstep_reader")}"
refresher = "{self.conninfo("refresher", "lockstep_refresher")}"

[kafka]
bootstrap_servers = "{ports.HOST}:{self.port["kafka"]}"

[kafka.client]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-256"
"sasl.username" = "lockstep"
"sasl.password" = "{self.password["kafka"]}"
"ssl.ca.location" = "{self.ca}"
"debug" = "security,conf"

[cassandra]
contact_points = ["{ports.HOST}"]
port = {self.port["cassandra"]}
username = "lockstep_projector"
password = "{self.password["cassandra_projector"]}"
ca_file = "{self.ca}"

[relay]
metrics_port = 0

[projector]
metrics_port = 0
replica = "{self.folder / "replica.sqlite"}"

[read_api]
port = {self.port["read-api"]}
wait_ms = 10000
"""


@contextlib.contextmanager
def secured_servers(folder: Path) -> Iterator[SecuredServers]:
    """Start them below `folder`, wait until each answers, stop them at the end."""
    ca, certificate = _certificates(folder, "ca")
    other_ca, _ = _certificates(folder, "other")
    port = ports.choose({}, {})
    password = {role: f"{role}-{secrets.token_hex(12)}" for role in ROLES}
    with contextlib.ExitStack() as stack:
        stack.callback(folders.remove_data, folder)
        stack.enter_context(_running(_parts(folder, port, password, ca, certificate), folder))
        postgres_port = stack.enter_context(tls_endpoint((ports.HOST, port["postgres"]), str(certificate)))
        yield SecuredServers(
            folder=folder, ca=ca, other_ca=other_ca, port=port, postgres_port=postgres_port, password=password
        )


def _parts(
    folder: Path, port: dict[str, int], password: dict[str, str], ca: Path, certificate: Path
) -> tuple[Part, ...]:
    cache, environment = folders.cache_folder(), os.environ | dict([FOR_MINUTES])
    locked = jars.locked()
    download.ensure(cache, (jar for found in locked.values() for jar in found), Console(stderr=True))
    class_path = {server: tuple(download.place(cache, jar) for jar in found) for server, found in locked.items()}
    login = f'username="lockstep" password="{password["kafka"]}"'
    plain = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "lockstep",
        "sasl.password": password["kafka"],
        "ssl.ca.location": str(ca),
    }
    parts = (
        *postgres.parts(
            stack_folder=folder, port=port["postgres"], password=password["admin"], environment=environment
        ),
        *kafka.parts(
            stack_folder=folder,
            port=port["kafka"],
            controller_port=port["kafka-controller"],
            jars=class_path["kafka"],
            environment=environment,
            more={
                "log.cleaner.dedupe.buffer.size": str(16 << 20),  # of a heap of 256 MiB its usual 128 are too many
                "listeners": f"CLIENTS://{ports.HOST}:{port['kafka']},CONTROLLER://{ports.HOST}:{port['kafka-controller']}",
                "advertised.listeners": f"CLIENTS://{ports.HOST}:{port['kafka']}",
                "inter.broker.listener.name": "CLIENTS",
                "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT",
                "sasl.enabled.mechanisms": "SCRAM-SHA-256",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256",
                "listener.name.clients.scram-sha-256.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.scram.ScramLoginModule required {login};"
                ),
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(certificate),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(ca),
            },
            format_arguments=("--add-scram", f"SCRAM-SHA-256=[name=lockstep,password={password['kafka']}]"),
            client=plain,
        ),
        *cassandra.parts(
            stack_folder=folder,
            port=port["cassandra"],
            storage_port=port["cassandra-storage"],
            jars=class_path["cassandra"],
            environment=environment,
            more={
                **cassandra.WITH_ROLES,
                "credentials_validity": "2000ms",  # as shipped
                "client_encryption_options": {
                    "enabled": True,
                    "optional": False,
                    "ssl_context_factory": {"class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"},
                    "keystore": str(certificate),
                    "truststore": str(ca),
                },
                "memtable_heap_space": "64MiB",
                "memtable_offheap_space": "64MiB",
            },
            tls=ssl.create_default_context(cafile=str(ca)),
        ),
    )
    return tuple(dataclasses.replace(part, argv=tuple(SMALLER.get(word, word) for word in part.argv)) for part in parts)


@contextlib.contextmanager
def _running(parts: tuple[Part, ...], folder: Path) -> Iterator[None]:
    children: dict[str, Child] = {}
    ready: set[str] = set()
    try:
        while len(ready) < len(parts):
            for part in startable(parts, frozenset(children), frozenset(ready)):
                children[part.name] = Child(part, folder / f"{part.name}.log")
            for name in children.keys() - ready:
                if _is_ready(children[name]):
                    children[name].part.finish()
                    ready.add(name)
            time.sleep(0.05)  # each part's own deadline is in _is_ready
        yield
    finally:
        for child in reversed(children.values()):
            # Nothing of it is needed again; PostgreSQL's own children would outlive a SIGKILL by a moment.
            child.signal(signal.SIGQUIT if child.part.name == "postgres" else signal.SIGKILL)
        for child in children.values():
            deadline = time.monotonic() + 10
            while child.exit_code() is None and time.monotonic() < deadline:
                time.sleep(0.02)  # the deadline is the loop
            child.kill()


def _is_ready(child: Child) -> bool:
    code = child.exit_code()
    assert code is None or (child.part.kind == "task" and code == 0), f"{child.part.name} ended:\n{child.tail()}"
    assert child.age_s < child.part.deadline_s, f"{child.part.name} does not answer:\n{child.tail()}"
    return code == 0 if child.part.kind == "task" else child.part.answers()


def _certificates(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate authority, and a PEM file with a server's key and its certificate for the loopback address."""
    ca, ca_key, server, key = (folder / f"{name}{end}" for end in (".pem", ".key", "-server.pem", "-server.key"))
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-addext", f"subjectAltName=IP:{ports.HOST}", "-addext", "basicConstraints=critical,CA:FALSE"]
    commands: tuple[list[str | Path], ...] = (
        [*new, "-subj", f"/CN={name}", "-keyout", ca_key, "-out", ca],
        [*new, *names, "-subj", "/CN=server", "-keyout", key, "-out", server, "-CA", ca, "-CAkey", ca_key],
    )
    for words in commands:
        subprocess.run(words, check=True, capture_output=True)
    bundle = folder / f"{name}-bundle.pem"
    bundle.write_text(key.read_text() + server.read_text())
    return ca, bundle
