"""One part as a process: started through the launcher, its output in a log, stopped with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import psutil

from deploy.local.part import Part
from deploy.local.state import Identity

LAUNCHER = Path(__file__).with_name("launcher.py")
TAIL_LINES = 12


class Child:
    """A started part. Must be made in the supervisor's main thread, which the kernel ties the process to."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.since = time.monotonic()
        account = part.account
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        launcher = (sys.executable, "-I", "-S", str(LAUNCHER))
        orders = (str(os.getpid()), str(int(part.death_signal)), str(uid), str(gid))
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 - the plan's own programs
                (*launcher, *orders, *part.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=part.folder,
                env=dict(part.environment),
                start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's business
            )
        try:
            self.identity: Identity | None = Identity.of(self._process.pid)
        except psutil.NoSuchProcess:
            self.identity = None

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.since

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.exit_code() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it and what it started in its session, and wait: a killed process is gone within moments."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.signal(signal.SIGKILL)
        self._process.wait(10)

    def tail(self) -> str:
        """The last lines that this run wrote to its log."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = deque(file, TAIL_LINES)
        return "".join("    " + line.decode(errors="replace") for line in lines).rstrip()


def stop_together(children: list[Child], signals: dict[str, int]) -> list[str]:
    """Send each its signal, wait until all have ended, kill those that outstay their patience; returns their names."""
    for child in children:
        child.signal(signals[child.part.name])
    started = time.monotonic()
    late: list[str] = []
    waiting = list(children)
    while waiting:
        waiting = [child for child in waiting if child.exit_code() is None]
        for child in list(waiting):
            if time.monotonic() - started > child.part.patience_s:
                child.kill()
                waiting.remove(child)
                late.append(child.part.name)
        time.sleep(0.02 if waiting else 0)  # each child's patience is the deadline
    return late
