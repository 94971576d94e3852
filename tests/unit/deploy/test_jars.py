"""The jar lock: reads back what it renders, refuses what it can't read, holds what the servers need."""

from __future__ import annotations

import pytest

from deploy.local import jars
from deploy.local.repository import mirror_of_central

ONE = jars.Jar(group="a.b", artifact="c", version="1", classifier="linux", size=5, sha256="0" * 64)


def test_the_lock_reads_back() -> None:
    servers = {
        "kafka": (ONE,),
        "cassandra": (ONE, jars.Jar(group="a", artifact="d", version="2", classifier="", size=1, sha256="f" * 64)),
    }
    assert jars.parse(jars.render(dict(servers))) == servers


def test_a_jar_stands_where_maven_puts_it() -> None:
    assert str(ONE.path) == "a/b/c/1/c-1-linux.jar"


@pytest.mark.parametrize("line", ["nonsense", f"{'0' * 63} 5 a:b:1", f"{'0' * 64} five a:b:1", f"{'0' * 64} 5 a:b"])
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 of the jar lock"):
        jars.parse(f"[kafka]\n{line}\n")


def test_the_trees_lock_holds_one_version_of_each_artifact() -> None:
    every = jars.locked("kafka", "cassandra", "connect")
    for server, locked in every.items():
        versions: dict[tuple[str, str], set[str]] = {}
        for jar in locked:
            versions.setdefault((jar.group, jar.artifact), set()).add(jar.version)
        assert {name: found for name, found in versions.items() if len(found) > 1} == {}, server
    kafka, connect = ({jar.artifact: jar.version for jar in every[server]} for server in ("kafka", "connect"))
    assert kafka["kafka-clients"] == kafka["kafka_2.13"] == "4.1.1"
    assert connect["kafka-clients"] == connect["connect-runtime"] == "4.1.1"


def test_a_stack_needs_the_jars_of_its_own_servers_alone() -> None:
    assert set(jars.locked()) == {"kafka", "cassandra"}


def test_a_mirror_of_central_is_found_and_another_is_not() -> None:
    def settings(of: str) -> str:
        return (
            '<settings xmlns="urn:x"><mirrors><mirror><id>m</id>'
            f"<mirrorOf>{of}</mirrorOf><url>http://mirror.example/maven/</url></mirror></mirrors></settings>"
        )

    assert mirror_of_central(settings("central")) == "http://mirror.example/maven"
    assert mirror_of_central(settings("external:*,!internal")) == "http://mirror.example/maven"
    assert mirror_of_central(settings("*,!central")) is None
    assert mirror_of_central(settings("internal")) is None
