"""The lock file of Java parts: which jar, from where in a Maven repository, with which checksum. Pure.

One line a jar, ``SHA256 BYTES GROUP:ARTIFACT:VERSION[:CLASSIFIER]``, under a ``[server]`` heading; a jar that two
servers use stands under both. The list is complete: nothing is resolved when the servers are started.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LOCK_FILE = Path(__file__).with_name("jars.lock")
SERVERS = ("kafka", "cassandra")
"""What a stack starts; the lock's other sections are for those who start more."""


@dataclass(frozen=True, kw_only=True, order=True)
class Jar:
    """One jar. size in bytes; sha256 in hexadecimal; classifier may be empty."""

    group: str
    artifact: str
    version: str
    classifier: str
    size: int
    sha256: str

    @property
    def coordinate(self) -> str:
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))

    @property
    def path(self) -> PurePosixPath:
        """Below a repository's root, by Maven's layout."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        name = f"{self.artifact}-{self.version}{suffix}.jar"
        return PurePosixPath(*self.group.split("."), self.artifact, self.version, name)


def parse(text: str) -> dict[str, tuple[Jar, ...]]:
    """Server name → its jars in class path order. Raises ValueError with the line's number."""
    servers: dict[str, list[Jar]] = {}
    jars: list[Jar] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            jars = servers.setdefault(line[1:-1], [])
            continue
        try:
            sha256, size, coordinate = line.split()
            group, artifact, version, *rest = coordinate.split(":")
            jar = Jar(
                group=group,
                artifact=artifact,
                version=version,
                classifier=rest[0] if rest else "",
                size=int(size),
                sha256=sha256,
            )
        except ValueError as error:
            raise ValueError(f"line {number} of the jar lock is not 'SHA256 BYTES COORDINATE': {raw!r}") from error
        if jars is None or len(sha256) != 64 or len(rest) > 1:
            raise ValueError(f"line {number} of the jar lock stands under no server or is malformed: {raw!r}")
        jars.append(jar)
    return {server: tuple(found) for server, found in servers.items()}


def render(servers: dict[str, Iterable[Jar]]) -> str:
    """The text that `parse` reads back."""
    lines = ["# Made by: python -m deploy.local lock"]
    for server, jars in servers.items():
        lines += ["", f"[{server}]"]
        lines += [f"{jar.sha256} {jar.size} {jar.coordinate}" for jar in jars]
    return "\n".join(lines) + "\n"


def locked(*servers: str) -> dict[str, tuple[Jar, ...]]:
    """What this tree's lock file holds of these servers; of those of a stack when none is named."""
    every = parse(LOCK_FILE.read_text(encoding="utf-8"))
    return {server: every[server] for server in servers or SERVERS}
