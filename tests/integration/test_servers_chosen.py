"""Which servers a session of tests has: embedded ones or containers, and that neither choice leaves out tests quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
RESTARTS = "tests/e2e/test_restarts.py"


def session(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A session of pytest with no servers given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSTEP_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        env=inherited | environment,
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_tests_for_embedded_servers_are_left_out_by_name_and_reason() -> None:
    ended = session("--collect-only", RESTARTS, LOCKSTEP_TEST_SERVERS="containers")
    assert ended.returncode == 5, "no test is left"
    named = [line for line in ended.stdout.splitlines() if line.startswith(f"{RESTARTS}::") and ": signals the" in line]
    assert len(named) >= 2, ended.stdout
    there = session("--collect-only", RESTARTS)
    assert there.returncode == 0
    assert "left out" not in there.stdout


def test_a_module_with_servers_of_its_own_is_marked() -> None:
    """Otherwise it would run on embedded servers in a session that is to prove containers."""
    own = [path for path in (TREE / "tests" / "e2e").glob("test_*.py") if "\ndef stack(" in path.read_text()]
    assert TREE / RESTARTS in own
    assert [path.name for path in own if "pytest.mark.embedded(" not in path.read_text()] == []


def test_without_an_engine_a_session_on_containers_fails_and_says_what_to_do() -> None:
    ended = session(
        "tests/e2e/test_stale_reader.py",
        LOCKSTEP_TEST_SERVERS="containers",
        DOCKER_HOST="unix:///nonexistent/docker.sock",
    )
    assert ended.returncode == 1
    assert "skipped" not in ended.stdout
    assert "python -m deploy.containers engine up" in ended.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"LOCKSTEP_TEST_SERVERS": "docker"},
        {"LOCKSTEP_TEST_SERVERS": "containers", "LOCKSTEP_TEST_KAFKA": "127.0.0.1:9092"},
    ],
    ids=["unknown", "given as well"],
)
def test_a_choice_that_means_nothing_ends_the_session(environment: dict[str, str]) -> None:
    ended = session("--collect-only", RESTARTS, **environment)
    assert ended.returncode == 4
    assert "LOCKSTEP_TEST_SERVERS" in ended.stderr
