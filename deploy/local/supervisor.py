"""The process that owns a stack's processes: starts each as soon as what it needs is ready, watches, restarts, stops.

It runs until it is told to stop: by SIGTERM or SIGINT, or by the end of its standard input before the word ``keep``
arrived there. That input is its caller's lease: a caller that dies, however it dies, gives it up, and the stack goes.

While starting, the first part that ends or misses its deadline stops everything. Later, a part that dies is started
again after a growing pause; one that dies more than `MOST_RESTARTS` times within `RESTART_WINDOW_S` stays down, and the
stack is ``degraded``. All processes are made from the main thread, which is the only one (see `launcher`).
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from deploy.local import folders, plan
from deploy.local import state as told
from deploy.local.child import Child, stop_together
from deploy.local.errors import NotReadyError, StackError
from deploy.local.part import Part, startable, stop_order
from deploy.local.state import Identity, PartPhase, PartState, Phase, State

TICK_S = 0.05
MOST_RESTARTS = 5
RESTART_WINDOW_S = 120.0
LEASE = 0  # standard input
OWNED_BY_ANOTHER = 75  # exit code of a supervisor that found the folder taken


def pause_s(deaths: int) -> float:
    """Seconds to wait before the next start, after so many deaths within the window."""
    return float(min(0.25 * 2 ** (deaths - 1), 8.0))


def lock(folder: Path) -> TextIO | None:
    """The right to supervise this folder, as long as the file is open; None when another process has it."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Supervisor:
    """One stack.

    throw_away: the data is not needed again, so servers are ended without being asked to write it down.
    """

    def __init__(self, folder: Path, parts: tuple[Part, ...], *, only: tuple[str, ...], throw_away: bool) -> None:
        self._folder = folder
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._parts = parts
        self._only = only
        self._throw_away = throw_away
        self._self = Identity.of(os.getpid())
        self._phase: Phase = "starting"
        self._error = ("", "", "")
        self._children: dict[str, Child] = {}
        self._phases: dict[str, PartPhase] = {part.name: "waiting" for part in parts}
        self._took: dict[str, float] = {}
        self._deaths: dict[str, list[float]] = {part.name: [] for part in parts}
        self._restarts: dict[str, int] = dict.fromkeys(self._phases, 0)
        self._resume_at: dict[str, float] = {}
        self._stop_wanted = ""
        self._lease_open = True

    def run(self) -> int:
        """Start, serve, stop. Returns 0 unless starting failed (the state file says why)."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._tell()
            while not self._stop_wanted:
                self._start_what_may()
                self._look_after()
                self._read_lease()
                time.sleep(TICK_S)  # its pace: no one signal tells of children, probes and the lease together
        except StackError as error:
            self._error = (type(error).__name__, error.message, error.hint)
            self._say(f"failed: {error}")
        finally:
            self._stop()
        return 1 if self._error[0] else 0

    def refuse(self, error: StackError) -> None:
        """Tell why nothing was started."""
        self._error = (type(error).__name__, error.message, error.hint)
        self._phase = "failed"
        self._tell()
        self._say(f"failed: {error}")

    # Starting

    def _start_what_may(self) -> None:
        started = frozenset(name for name, phase in self._phases.items() if phase != "waiting")
        ready = frozenset(name for name, phase in self._phases.items() if phase in ("ready", "done"))
        for part in startable(self._parts, started, ready):
            log = self._logs / f"{part.name}.log"
            if log.exists():
                log.replace(log.with_suffix(".log.1"))
            self._start(part)
        now = time.monotonic()
        for name in [name for name, when in self._resume_at.items() if when <= now]:
            del self._resume_at[name]
            self._restarts[name] += 1
            self._start(next(part for part in self._parts if part.name == name))

    def _start(self, part: Part) -> None:
        self._children[part.name] = Child(part, self._logs / f"{part.name}.log")
        self._become(part.name, "starting")

    # Watching

    def _look_after(self) -> None:
        for name, child in self._children.items():
            match self._phases[name]:
                case "starting":
                    self._look_at_starting(name, child)
                case "ready" if (code := child.exit_code()) is not None:
                    self._died(name, f"ended with {_meaning(code)}")
                case _:
                    pass
        if set(self._phases.values()) <= {"ready", "done"} and self._phase in ("starting", "degraded"):
            self._phase = "ready"
            self._tell()
            self._say("ready")

    def _look_at_starting(self, name: str, child: Child) -> None:
        part = child.part
        code = child.exit_code()
        if part.kind == "task":
            if code == 0:
                part.finish()
                self._took[name] = child.age_s
                self._become(name, "done")
                return
        elif code is None and part.answers():
            part.finish()
            self._took.setdefault(name, child.age_s)
            self._become(name, "ready")
            return
        if code is not None:
            self._died(name, f"ended with {_meaning(code)} while starting")
        elif child.age_s > part.deadline_s:
            child.kill()
            self._died(name, f"did not {'end' if part.kind == 'task' else 'answer'} within {part.deadline_s:.0f} s")

    def _died(self, name: str, what: str) -> None:
        child = self._children[name]
        tail = child.tail()
        if self._phase == "starting":
            self._phases[name] = "failed"
            raise NotReadyError(f"{name} {what}; the end of {child.log}:\n{tail}", hint=f"read {child.log}")
        self._say(f"{name} {what}; its last lines:\n{tail}")
        now = time.monotonic()
        recent = [when for when in self._deaths[name] if now - when < RESTART_WINDOW_S]
        self._deaths[name] = [*recent, now]
        if len(recent) >= MOST_RESTARTS:
            self._phase = "degraded"
            self._become(name, "failed")
            return
        self._resume_at[name] = now + pause_s(len(recent) + 1)
        self._become(name, "restarting")

    # Ending

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop_wanted = signal.Signals(number).name

    def _read_lease(self) -> None:
        if not self._lease_open:
            return
        readable, _, _ = select.select([LEASE], [], [], 0)
        if readable:
            self._lease_open = False
            if os.read(LEASE, 64).strip() != b"keep":
                self._stop_wanted = "the end of the caller"

    def _stop(self) -> None:
        self._phase = "stopping"
        self._say(f"stopping: {self._stop_wanted or 'a failure'}")
        self._tell()
        for group in stop_order(self._parts):
            children = [self._children[part.name] for part in group if part.name in self._children]
            hasty = self._throw_away or bool(self._error[0] and not self._took)
            signals = {
                part.name: part.death_signal if hasty and part.kind == "server" else part.stop_signal for part in group
            }
            for name in stop_together(children, signals):
                self._say(f"{name} did not end in time and was killed")
            for child in children:
                self._phases[child.part.name] = "stopped"
        self._phase = "failed" if self._error[0] else "stopped"
        self._tell()
        self._say(self._phase)

    # Telling

    def _become(self, name: str, phase: PartPhase) -> None:
        self._phases[name] = phase
        self._say(f"{name}: {phase}")
        self._tell()

    def _tell(self) -> None:
        parts = tuple(
            PartState(
                name=part.name,
                kind=part.kind,
                phase=self._phases[part.name],
                address=part.address,
                process=child.identity if (child := self._children.get(part.name)) else None,
                took_s=self._took.get(part.name),
                restarts=self._restarts[part.name],
            )
            for part in self._parts
        )
        told.write(
            self._folder,
            State(
                supervisor=self._self,
                phase=self._phase,
                parts=parts,
                only=self._only,
                error=self._error,
            ),
        )

    def _say(self, text: str) -> None:
        print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}", flush=True)


def _meaning(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def supervise(folder: Path, asked_ports: Mapping[str, int], *, only: tuple[str, ...], throw_away: bool) -> int:
    """Plan and run a stack; a plan that can't be made is told in the state file like any other failure."""
    try:
        made = plan.make(folder, asked_ports=asked_ports, only=only, throw_away=throw_away)
    except StackError as error:
        Supervisor(folder, (), only=only, throw_away=throw_away).refuse(error)
        return 1
    try:
        return Supervisor(folder, made.parts, only=only, throw_away=throw_away).run()
    finally:
        if throw_away:
            folders.remove_data(folder)
