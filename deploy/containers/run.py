"""Other programs, run to their end: what they say is returned, a failure is a CommandError with its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.containers.errors import CommandError

_STOP_S = 10.0  # what a program may take to tidy up
_TAIL = 3_000  # characters of a failed program's output that are repeated


def run(
    argv: Sequence[str | Path],
    *,
    hint: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    deadline_s: float = 900,
) -> str:
    """Run a program; returns its output.

    Raises CommandError when it can't be started, ends with an error or outlives the deadline.
    """
    text = " ".join(str(part) for part in argv)
    if shutil.which(str(argv[0])) is None:
        raise CommandError(f"the program {argv[0]} is not there", hint=hint)
    process = subprocess.Popen(  # noqa: S603 - programs and arguments are this package's own
        [str(part) for part in argv],
        env={**os.environ, **(environment or {})},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        output, _ = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{text}: not at its end after {deadline_s:g} s", hint=hint) from error
    finally:
        if process.poll() is None:
            _end(process)
    said = output.decode(errors="replace")
    if process.returncode:
        raise CommandError(f"{text} ended with {process.returncode}:\n{said[-_TAIL:]}", hint=hint)
    return said


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.communicate(timeout=_STOP_S)
            return
