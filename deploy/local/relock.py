"""Write the jar lock anew: resolve the servers' dependencies with jgo, fetch each jar, note size and checksum.

Run by ``python -m deploy.local lock`` when a server's version changes; never when the servers are started.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from deploy.local import jars, repository

# "!" keeps a coordinate's own dependency management out of the others': log4j's would turn Kafka's client into an
# older one. Kafka logs nothing without an slf4j binding.
ROOTS = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.1.1!", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!"),
    "cassandra": ("org.apache.cassandra:cassandra-all:5.0.6!",),
    "connect": (
        "org.apache.kafka:connect-runtime:4.1.1!",
        "io.debezium:debezium-connector-postgres:3.4.3.Final!",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!",
    ),
}
LEFT_OUT_SCOPES = frozenset({"test", "provided", "system"})
LEFT_OUT_CLASSIFIERS = ("windows", "riscv64")  # native libraries for platforms that have no wheel of PostgreSQL here


def relock(cache: Path) -> str:
    """The lock file's new text; jars and poms are kept below `cache`. Needs the network."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=cache, remote_repos=repository.remotes())
    return jars.render({server: _resolve(context, roots) for server, roots in ROOTS.items()})


def _resolve(context: Any, roots: tuple[str, ...]) -> list[jars.Jar]:
    inputs, transitive = context.resolver.resolve([context.create_dependency(root) for root in roots])
    found: dict[str, jars.Jar] = {}
    for dependency in [*inputs, *transitive]:
        classifier = dependency.artifact.classifier or ""
        if dependency.scope in LEFT_OUT_SCOPES or any(part in classifier for part in LEFT_OUT_CLASSIFIERS):
            continue
        content = Path(dependency.artifact.resolve()).read_bytes()
        jar = jars.Jar(
            group=dependency.groupId,
            artifact=dependency.artifactId,
            version=dependency.version,
            classifier=classifier,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        found[jar.coordinate] = jar
    first = [found.pop(root.rstrip("!")) for root in roots]
    return [*first, *sorted(found.values())]
