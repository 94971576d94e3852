"""What a supervisor tells about itself: ``state.json`` in the stack's folder, replaced at once on every change.

A process is known by its id *and* the time it was started: ids are used again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import psutil

Phase = Literal["starting", "ready", "degraded", "stopping", "stopped", "failed"]
PartPhase = Literal["waiting", "starting", "ready", "done", "restarting", "failed", "stopped"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A process. started: seconds since the epoch, as the system tells it."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Raises psutil.NoSuchProcess."""
        return cls(pid=pid, started=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process if it still runs (a zombie doesn't)."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > 0.5 or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process


class PartState(msgspec.Struct, frozen=True, kw_only=True):
    """One part. took_s: from start to ready; None until then. restarts: how often it was started again after dying."""

    name: str
    kind: str
    phase: PartPhase
    address: str
    process: Identity | None = None
    took_s: float | None = None
    restarts: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The whole stack.

    only: the servers that it is made of; empty when it is everything.
    error: class name, message and hint of what made it fail, empty otherwise.
    """

    supervisor: Identity
    phase: Phase
    parts: tuple[PartState, ...]
    only: tuple[str, ...] = ()
    error: tuple[str, str, str] = ("", "", "")

    def part(self, name: str) -> PartState:
        """Raises KeyError."""
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)


def path(folder: Path) -> Path:
    """The state file of a stack folder."""
    return folder / "state.json"


def read(folder: Path) -> State | None:
    """None when there is none that this version can read."""
    try:
        return msgspec.json.decode(path(folder).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


def write(folder: Path, state: State) -> None:
    """Replace the state file."""
    unfinished = folder / "state.json.new"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    unfinished.replace(path(folder))
