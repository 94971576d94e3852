"""Servers of a test module's own, which it may pause and kill; their supervisor starts again what has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psutil

from deploy.local.stack import Running
from tests.e2e.pipeline import wait_for


def killed(running: Running, name: str, number: int = signal.SIGKILL) -> float:
    """Signal a server and wait until its supervisor has it back; seconds that it was away."""
    before = running.state.part(name)
    assert before.process is not None
    began = time.monotonic()
    os.kill(before.process.pid, number)

    def back() -> bool:
        now = running.state.part(name)
        return now.process is not None and now.process.pid != before.process.pid and now.phase == "ready"  # type: ignore[union-attr]

    wait_for(f"{name} is back", back, 200)
    return time.monotonic() - began


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process and those that it has started stand still during the block: connections stay open, nothing answers."""
    process = psutil.Process(pid)
    stopped = [process, *process.children(recursive=True)]
    for one in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.suspend()
    try:
        yield
    finally:
        for one in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()
