"""``make test``: what judges time under faults, with the simulations behind it; then all the rest, a worker a core.

    python -m tests [--workers N] [pytest's arguments]

Tests marked ``alone`` end processes and servers under a load of their own and ask within seconds what became of it: beside other
tests they would judge the machine. They leave half of it idle, though, since they wait for what they have killed; the tests that
only compute (`BEHIND`) run on that half, at the lowest priority, and say what they found afterwards. Ends with 0 only when every
part passed, and something was run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

BEHIND = ("tests/oracle", "tests/unit/projector")
_NO_TESTS = 5


def main(arguments: list[str]) -> int:
    """Run all parts; the exit status."""
    workers = "2"
    if arguments[:1] == ["--workers"]:
        workers, arguments = arguments[1], arguments[2:]
    pytest = (sys.executable, "-m", "pytest", *arguments)
    with tempfile.TemporaryFile() as said:
        lowest = ("--numprocesses", workers, "--dist", "worksteal", *BEHIND)
        behind = subprocess.Popen(("nice", "-n", "19", *pytest, *lowest), stdout=said, stderr=subprocess.STDOUT)
        try:
            ended = [subprocess.run((*pytest, "-m", "alone"), check=False).returncode]
            ended.append(behind.wait())
        finally:
            behind.terminate()
            behind.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    rest = ("-m", "not alone", "--numprocesses", workers, "--dist", "loadfile")
    ended.append(subprocess.run((*pytest, *rest, *(f"--ignore={path}" for path in BEHIND)), check=False).returncode)
    if all(status == _NO_TESTS for status in ended):
        return _NO_TESTS
    return max(0 if status == _NO_TESTS else abs(status) for status in ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
