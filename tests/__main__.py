"""``make test``: what judges time under faults first, by itself; then all the rest, a worker a core, and what is patient beside it.

    python -m tests [--workers N] [pytest's arguments]

Tests marked ``alone`` end processes and servers under a load of their own and ask within seconds what became of it: beside other
tests they would judge the machine (tried, with simulations at the lowest priority: where the machine is slow, they fail). Those
marked ``patient``, the oracle's simulations and the projector's pure core, take the CPU that the rest leaves: they have the lowest
priority in a session of their own (Linux shares the CPU out among sessions first) and no server but PostgreSQL. Their output
follows the rest's. Ends with 0 only when every part passed, and something was run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from deploy.local.child import LAUNCHER
from tests.conftest import PATIENT

_NO_TESTS = 5
_PATIENCE_S = 1800
"""For one test: it waits for the CPU as long as others want it."""
_LEAST = 19
"""The lowest priority, as a niceness."""


def main(arguments: list[str]) -> int:
    """Run every part; the exit status."""
    workers = "2"
    if arguments[:1] == ["--workers"]:
        workers, arguments = arguments[1], arguments[2:]
    # Without caches each of a run's interpreters compiles and rewrites every module again: 10 CPU seconds for the tests alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    side_by_side = ["--numprocesses", workers, "--dist"]
    chosen = any(Path(argument.partition("::")[0]).exists() for argument in arguments)

    def command(marked: str, where: Iterable[str], *more: str) -> list[str]:
        return [sys.executable, "-m", "pytest", "-m", marked, *more, *arguments, *([] if chosen else where)]

    patient = command("patient", map(str, PATIENT), *side_by_side, "load", "-o", f"timeout={_PATIENCE_S}")
    # In the order of their names: the long tests of the whole path come first, and what waits in them leaves to the patient.
    in_order = (*side_by_side, "loadfile", "--no-loadscope-reorder")
    rest = command("not alone and not patient", ["tests"], *in_order)
    ended = [_status(command("alone", ["tests/e2e"]), environment)]
    with _beside(patient, environment) as (beside, said):
        ended.append(_status(rest, environment))
        print("\nthe patient ones, which ran beside these:", flush=True)
        ended.append(_followed(beside, said))
    if all(status == _NO_TESTS for status in ended):
        return _NO_TESTS
    return max(0 if status == _NO_TESTS else abs(status) for status in ended)


def _status(command: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, check=False, env=environment).returncode


@contextlib.contextmanager
def _beside(command: list[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A process at the lowest priority, and what it says. It ends with the block, or with this process."""
    dies_with_us = (sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(signal.SIGTERM)), "-1", "-1")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            (*dies_with_us, *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, _LEAST)
            with contextlib.suppress(OSError):  # a kernel without groups of sessions
                Path(f"/proc/{process.pid}/autogroup").write_text(str(_LEAST))
            yield process, output
        finally:
            if process.poll() is None:
                process.terminate()  # an interrupt is ignored by whoever was started in the background
                process.wait(60)


def _followed(process: subprocess.Popen[bytes], said: IO[bytes]) -> int:
    """Print what a process has said and says, until it ends; its status."""
    at = 0
    while True:
        status = process.poll()
        new = os.pread(said.fileno(), 1 << 20, at)
        sys.stdout.buffer.write(new)
        sys.stdout.buffer.flush()
        at += len(new)
        if status is not None and not new:
            return status
        if not new:
            time.sleep(0.2)  # until it says more, or ends: each of its tests has a time-out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
