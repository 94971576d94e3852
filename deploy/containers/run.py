"""Other programs, run to their end: what they say goes to standard error, a failure is a CommandError with its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.containers.errors import CommandError

_TAIL = 3_000  # characters of a failed program's output that are repeated


def run(
    argv: Sequence[str | Path],
    *,
    hint: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    shown: bool = False,
    deadline_s: float = 900,
) -> str:
    """Run a program; returns its output. shown: let it write to standard error as it goes, and return nothing.

    Raises CommandError when it can't be started, ends with an error or outlives the deadline.
    """
    text = " ".join(str(part) for part in argv)
    if shutil.which(str(argv[0])) is None:
        raise CommandError(f"the program {argv[0]} is not there", hint=hint)
    try:
        ended = subprocess.run(  # noqa: S603 - programs and arguments are this package's own
            [str(part) for part in argv],
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if shown else subprocess.PIPE,
            stderr=sys.stderr if shown else subprocess.STDOUT,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{text}: not at its end after {deadline_s:g} s", hint=hint) from error
    said = "" if shown else ended.stdout.decode(errors="replace")
    if ended.returncode:
        raise CommandError(f"{text} ended with {ended.returncode}:\n{said[-_TAIL:]}", hint=hint)
    return said
