"""A process forked from one that has imported everything, beside one that was started afresh: what a test relies on is alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import preloaded

_MODULE = "tests.unit.shown_process"
_ENVIRONMENT = {"PYTHONPATH": str(preloaded.TREE), "OWN": "1", "PYTHONFAULTHANDLER": "1"}

Start = Callable[[str, Path], "preloaded.Forked | subprocess.Popen[bytes]"]


def _forked(how: str, log: Path) -> preloaded.Forked:
    with log.open("ab") as output:
        return preloaded.popen((_MODULE, how), _ENVIRONMENT, output)


def _fresh(how: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE, how],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_ENVIRONMENT,
            cwd=preloaded.TREE,
        )


def _shown(log: Path, process: preloaded.Forked | subprocess.Popen[bytes]) -> dict[str, Any]:
    while not (said := log.read_bytes()).count(b"\n"):
        assert process.poll() is None, said
        time.sleep(0.01)  # the test has a deadline
    shown: dict[str, Any] = json.loads(said.splitlines()[0])
    shown["environment"].pop("LC_CTYPE", None)  # an interpreter that starts in the C locale sets it for itself
    return shown


@pytest.mark.parametrize(
    ("how", "number", "status"),
    [
        ("end", None, 3),
        ("fail", None, 1),
        ("give up", None, 1),
        ("stay", signal.SIGTERM, -signal.SIGTERM),
        ("stay", signal.SIGKILL, -signal.SIGKILL),
        ("stay", signal.SIGABRT, -signal.SIGABRT),
    ],
)
def test_a_forked_process_is_like_a_fresh_one(
    how: str, number: signal.Signals | None, status: int, tmp_path: Path
) -> None:
    shown = {}
    for start in (_forked, _fresh):
        log = tmp_path / start.__name__
        process = start(how, log)
        shown[start] = _shown(log, process)
        if number is not None:
            assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
            process.send_signal(number)
        assert process.wait(30) == process.poll() == status
        process.send_signal(signal.SIGKILL)  # to nobody
        said = log.read_text()
        assert ("LookupError: nothing there" in said) == (how == "fail")
        rest = said.partition("\n")[2].splitlines() if how == "give up" else []
        assert rest == (["the reason", "the thread", "the exit hook"] if how == "give up" else [])
        assert ("Fatal Python error: Aborted" in said) == (number is signal.SIGABRT)
    assert shown[_forked] == shown[_fresh]
    assert shown[_forked]["environment"] == _ENVIRONMENT


def test_two_at_once_are_two(tmp_path: Path) -> None:
    one, other = _forked("stay", tmp_path / "one"), _forked("stay", tmp_path / "other")
    _shown(tmp_path / "one", one)
    _shown(tmp_path / "other", other)
    one.kill()
    assert one.wait(30) == -signal.SIGKILL
    assert other.poll() is None
    os.kill(other.pid, 0)
    other.terminate()
    assert other.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize(("arguments", "status"), [(("--help",), 0), (("serve", "--port", "none"), 2)])
def test_a_command_that_is_imported_already_says_what_a_fresh_one_says(arguments: tuple[str, ...], status: int) -> None:
    forked = preloaded.run(("read_api", *arguments), _ENVIRONMENT)
    fresh = subprocess.run(
        [sys.executable, "-m", "read_api", *arguments],
        env=_ENVIRONMENT,
        cwd=preloaded.TREE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert forked.returncode == fresh.returncode == status
    assert (forked.stdout, forked.stderr) == (fresh.stdout, fresh.stderr)
    assert bool(fresh.stdout) != bool(fresh.stderr)


def test_none_outlives_who_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from tests import preloaded\n"
        f"with open({str(tmp_path / 'log')!r}, 'ab') as output:\n"
        f"    print(preloaded.popen(({_MODULE!r}, 'stay'), {_ENVIRONMENT!r}, output).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=preloaded.TREE
    ) as starter:
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
    until = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.05)  # the deadline is above; nobody tells of another's child
