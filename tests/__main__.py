"""``make test``: what judges time under faults first, by itself; then all the rest, a worker a core.

    python -m tests [--workers N] [pytest's arguments]

Tests marked ``alone`` end processes and servers under a load of their own and ask within seconds what became of it: beside other
tests they would judge the machine. (Tried: the simulations beside them at the lowest priority. It made the slowest of them
take twice as long.) Ends with 0 only when both parts passed, and something was run.
"""

from __future__ import annotations

import os
import subprocess
import sys

_NO_TESTS = 5


def main(arguments: list[str]) -> int:
    """Run both parts; the exit status."""
    workers = "2"
    if arguments[:1] == ["--workers"]:
        workers, arguments = arguments[1], arguments[2:]
    # Without caches each of a run's interpreters compiles and rewrites every module again: 10 CPU seconds for the tests alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    parts = (["-m", "alone"], ["-m", "not alone", "--numprocesses", workers, "--dist", "loadfile"])
    ended = [
        subprocess.run([sys.executable, "-m", "pytest", *part, *arguments], check=False, env=environment).returncode
        for part in parts
    ]
    if all(status == _NO_TESTS for status in ended):
        return _NO_TESTS
    return max(0 if status == _NO_TESTS else abs(status) for status in ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
