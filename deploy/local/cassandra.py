"""Apache Cassandra 5.0: one node on loopback, one token, a heap of 1 GB, no remote management port.

It asks nobody for a password, unless the caller's entries of cassandra.yaml say so: `WITH_ROLES`."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local import java, ports
from deploy.local.part import Part

# What Cassandra's own start script opens to itself on Java 17.
OPENED_PACKAGES = {
    "java.base": (
        "java.io",
        "java.lang",
        "java.lang.module",
        "java.lang.ref",
        "java.lang.reflect",
        "java.math",
        "java.net",
        "java.nio",
        "java.util",
        "java.util.concurrent",
        "java.util.concurrent.atomic",
        "jdk.internal.loader",
        "jdk.internal.math",
        "jdk.internal.misc",
        "jdk.internal.module",
        "jdk.internal.ref",
        "jdk.internal.reflect",
        "jdk.internal.util.jar",
        "jdk.internal.vm",
        "sun.nio.ch",
    ),
    "java.logging": ("java.util.logging",),
    "java.management.rmi": ("com.sun.jmx.remote.internal.rmi",),
    "java.management": ("com.sun.jmx.remote.security",),
    "java.rmi": (
        "java.rmi.registry",
        "java.rmi.server",
        "sun.rmi.registry",
        "sun.rmi.server",
        "sun.rmi.transport",
        "sun.rmi.transport.tcp",
    ),
    "java.sql": ("java.sql",),
    "jdk.attach": ("sun.tools.attach",),
    "jdk.management": ("com.sun.management.internal",),
    "jdk.unsupported": ("sun.misc",),
}
DEFAULT_COMMIT_LOG: Final[Mapping[str, object]] = {"commitlog_sync": "periodic", "commitlog_sync_period": "10s"}
"""Entries of cassandra.yaml for data that nobody needs after a crash: the commit log as Cassandra ships it."""
WITH_ROLES: Final[Mapping[str, object]] = {
    "authenticator": "PasswordAuthenticator",
    "authorizer": "CassandraAuthorizer",
    "role_manager": "CassandraRoleManager",
    # A password counts from its change on, not two seconds later; processes connect seldom.
    "credentials_validity": "0ms",
}
"""Entries of cassandra.yaml with which it lets nobody in without a password, nor do what was not granted."""
LOGBACK = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


def configuration(*, home: Path, port: int, storage_port: int, more: Mapping[str, object] | None = None) -> str:
    """cassandra.yaml (each value written as JSON, which YAML includes).

    One token, because a node alone balances with nobody. The batch thresholds let the writer choose its batch by
    measurement: the default warns from 5 KiB on. No snapshot of dropped tables: tests drop many. `more`: entries over these.

    The commit log is synchronized before a write is acknowledged, because no other replica has the row: under "periodic",
    the default, a killed process has lost what it acknowledged in its last 100 ms (the replay ends at the last marker,
    though the bytes after it are in the file), and a machine without power that of its last 10 s.
    """
    entries: dict[str, object] = {
        "cluster_name": "lockstep-local",
        "num_tokens": 1,
        "allocate_tokens_for_local_replication_factor": 1,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "data_file_directories": [str(home / "data")],
        "commitlog_directory": str(home / "commitlog"),
        "saved_caches_directory": str(home / "saved_caches"),
        "hints_directory": str(home / "hints"),
        "commitlog_sync": "batch",
        "commitlog_disk_access_mode": "legacy",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{ports.HOST}:{storage_port}"}],
            }
        ],
        "listen_address": ports.HOST,
        "rpc_address": ports.HOST,
        "storage_port": storage_port,
        "native_transport_port": port,
        "endpoint_snitch": "SimpleSnitch",
        "memtable_heap_space": "256MiB",
        "memtable_offheap_space": "256MiB",
        "memtable": {
            "configurations": {"trie": {"class_name": "TrieMemtable"}, "default": {"inherits": "trie"}},
        },
        "sstable": {"selected_format": "bti"},
        "storage_compatibility_mode": "NONE",
        "concurrent_reads": 16,
        "concurrent_writes": 16,
        "file_cache_size": "64MiB",
        "auto_snapshot": False,
        "batch_size_warn_threshold": "64KiB",
        "batch_size_fail_threshold": "1024KiB",
        "disk_failure_policy": "die",
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in {**entries, **(more or {})}.items())


def answers(port: int, tls: ssl.SSLContext | None = None) -> bool:
    """Whether the node answers CQL's OPTIONS request now; it opens the port only when it has started."""
    options_request = bytes([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0])
    supported = 0x06
    try:
        with (
            socket.create_connection((ports.HOST, port), timeout=0.5) as plain,
            tls.wrap_socket(plain, server_hostname=ports.HOST) if tls is not None else plain as connection,
        ):
            connection.sendall(options_request)
            header = connection.recv(9)
    except OSError:
        return False
    return len(header) == 9 and header[4] == supported


def parts(
    *,
    stack_folder: Path,
    port: int,
    storage_port: int,
    jars: tuple[Path, ...],
    environment: dict[str, str],
    more: Mapping[str, object] | None = None,
    tls: ssl.SSLContext | None = None,
    throw_away: bool = False,
) -> tuple[Part, ...]:
    """The node. Writes its configuration. more: entries of cassandra.yaml. tls: what a client connects with.

    throw_away: what is acknowledged need not outlive a kill.
    """
    home = stack_folder / "cassandra"
    settings = home / "conf"
    settings.mkdir(parents=True, exist_ok=True)
    more = {**(DEFAULT_COMMIT_LOG if throw_away else {}), **(more or {})}
    text = configuration(home=home, port=port, storage_port=storage_port, more=more)
    (settings / "cassandra.yaml").write_text(text, encoding="utf-8")
    (settings / "logback.xml").write_text(LOGBACK, encoding="utf-8")
    opened = tuple(option for module, packages in OPENED_PACKAGES.items() for option in _opened(module, packages))
    options = (
        "-Xms1g",
        "-Xmx1g",
        "-XX:+UseG1GC",
        "-Xss512k",
        "-XX:MaxDirectMemorySize=512m",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        *opened,
        f"-Djava.io.tmpdir={settings}",
        f"-Dcassandra.storagedir={home}",
        f"-Dcassandra.config={(settings / 'cassandra.yaml').as_uri()}",
        f"-Dlogback.configurationFile={settings / 'logback.xml'}",
        "-Dcassandra-foreground=yes",
        # A node alone has nobody to gossip with, announce its end to, or wait for.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=1",
        "-Dcassandra.shutdown_announce_in_ms=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        # Our passwords are 192 random bits: hashing them slowly protects nothing, and takes 0.1 s of each connection.
        "-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4",
        # The clock that time-outs go by is read 50 times a second; the default of 500 takes 2 % of a core.
        "-Dcassandra.approximate_time_precision_ms=20",
        # Each change of the schema flushes its tables: of 1.6 CPU seconds for 24 statements 1.2.
        *(("-Dcassandra.test.flush_local_schema_changes=false",) if throw_away else ()),
    )
    node = Part(
        name="cassandra",
        kind="server",
        argv=java.command(
            java.program(), jars, "org.apache.cassandra.service.CassandraDaemon", options=options, folders=(settings,)
        ),
        environment=environment,
        folder=home,
        answers=lambda: answers(port, tls),
        address=f"{ports.HOST}:{port}",
    )
    return (node,)


def _opened(module: str, packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        option
        for package in packages
        for option in (f"--add-opens={module}/{package}=ALL-UNNAMED", f"--add-exports={module}/{package}=ALL-UNNAMED")
    )
