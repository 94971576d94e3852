"""A stack from its caller's side: start one, find the running one, stop it.

`start` holds the stack's lease: when the returned `Running` is closed, or this process dies, the stack stops. `keep`
gives the lease up and leaves it running, to be found by `find` and stopped by `stop`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console

from deploy.local import apps, download, errors, folders, jars, passwords, ports, postgres, preflight, state
from deploy.local import supervisor as supervising
from deploy.local.errors import AlreadyRunningError, NotAnsweringError, NotReadyError, StackError

START_DEADLINE_S = 240.0
STOP_DEADLINE_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """folder: of state, logs and data. ports: those asked for by name; the rest are free ones, remembered.

    only: names of the servers to start, without the project's processes; everything when empty. Cassandra asks for passwords
        when everything is started, because who makes its roles is one of the processes.
    throw_away: data is removed when the stack stops, its logs stay; Cassandra keeps the commit log as it does by default,
        which is twice as fast as the local stack's and loses the last 100 ms when its process is killed.
    """

    folder: Path = folders.STACK_FOLDER
    only: tuple[str, ...] = ()
    throw_away: bool = False
    ports: Mapping[str, int] = field(default_factory=dict)


class Running:
    """A stack that is ready. A context manager: leaving it stops a stack whose lease is held, and only that."""

    def __init__(self, folder: Path, supervisor: subprocess.Popen[bytes] | None) -> None:
        self.folder = folder
        self._supervisor = supervisor

    @property
    def state(self) -> state.State:
        """As last told. Raises NotAnsweringError when there is none."""
        found = state.read(self.folder)
        if found is None:
            raise NotAnsweringError(f"{state.path(self.folder)} is gone", hint="make up starts a new stack")
        return found

    @property
    def settings_file(self) -> Path:
        """For LOCKSTEP_FILE; holds passwords."""
        return self.folder / "settings.toml"

    @property
    def postgres_admin(self) -> str:
        """Conninfo of the superuser on database postgres; holds the password."""
        host, _, port = self.address("postgres").rpartition(":")
        assert host == ports.HOST
        password = passwords.kept(self.folder / "passwords.json", apps.PASSWORDS)["admin"]
        return postgres.conninfo(int(port), postgres.SUPERUSER, password, "postgres")

    def address(self, name: str) -> str:
        """host:port of a server, URL of an app. Raises KeyError for a part that this stack doesn't have."""
        return self.state.part(name).address

    def keep(self) -> None:
        """Leave the stack running when this process ends."""
        if self._supervisor is not None and self._supervisor.stdin is not None:
            self._supervisor.stdin.write(b"keep\n")
            self._supervisor.stdin.close()
            self._supervisor = None

    def close(self) -> None:
        """Stop the stack if its lease is held here. Waits until every process has ended."""
        if self._supervisor is not None:
            _end(self._supervisor, self.folder)
            self._supervisor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(
    options: Options, console: Console | None = None, on_change: Callable[[state.State], None] | None = None
) -> Running:
    """Start a stack and wait until it is ready; downloads come first. `on_change` hears of each change of state.

    Raises StackError; whatever is raised, Ctrl-C included, nothing is left running.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    if (right := supervising.lock(options.folder)) is None:
        raise AlreadyRunningError(
            f"a stack already runs, starts or stops in {options.folder}",
            hint="make status shows it, make down stops it",
        )
    right.close()  # the supervisor takes it; until then another start may, and this one will say so
    cache = folders.cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    preflight.check_machine((options.folder,))
    wanted = (
        jar for server, found in jars.locked().items() if not options.only or server in options.only for jar in found
    )
    download.ensure(cache, wanted, console or Console(stderr=True))
    end_left_overs(options.folder)
    argv = [sys.executable, "-m", "deploy.local", "supervise", "--folder", str(options.folder.absolute())]
    for name in options.only:
        argv += ["--only", name]
    argv += ["--throw-away"] if options.throw_away else []
    for name, number in options.ports.items():
        argv += ["--port", f"{name}={number}"]
    log = options.folder / "logs" / "supervisor.log"
    log.parent.mkdir(exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("wb") as output:
        supervisor = subprocess.Popen(  # noqa: S603 - this project's own program
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folders.TREE,
            start_new_session=True,
        )
    try:
        _wait_ready(options.folder, supervisor, log, on_change)
    except BaseException:
        _end(supervisor, options.folder)
        raise
    return Running(options.folder, supervisor)


def find(folder: Path) -> Running | None:
    """The running stack of a folder, waited for if it is starting; None when there is none.

    Raises NotAnsweringError when its processes are there and a server or app doesn't answer.
    """
    deadline = time.monotonic() + START_DEADLINE_S
    while (found := state.read(folder)) is not None and found.supervisor.process() is not None:
        if found.phase in ("ready", "degraded"):
            break
        if time.monotonic() > deadline:
            raise NotAnsweringError(f"the stack in {folder} stays {found.phase}", hint="make down, then make up")
        time.sleep(0.1)  # the deadline is above; the state is a file of another process
    if found is None or found.supervisor.process() is None:
        return None
    deaf = [part.name for part in found.parts if part.address and not _listens(part.address)]
    if deaf:
        raise NotAnsweringError(
            f"the stack in {folder} runs, but {', '.join(deaf)} does not answer",
            hint=f"look into {folder / 'logs'}; make down, then make up starts it anew",
        )
    return Running(folder, None)


def stop(folder: Path) -> bool:
    """Stop the running stack, wait until it is gone; False when there was none. Raises StackError after a deadline."""
    found = state.read(folder)
    process = found.supervisor.process() if found else None
    if process is not None:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except psutil.TimeoutExpired as error:
            raise StackError(
                f"the supervisor {process.pid} did not end within {STOP_DEADLINE_S:.0f} s",
                hint=f"kill -9 {process.pid}",
            ) from error
    return end_left_overs(folder) or process is not None


def end_left_overs(folder: Path) -> bool:
    """Kill what a dead supervisor left (not on Linux, where nothing is left); True when there was something."""
    found = state.read(folder)
    if found is None or found.supervisor.process() is not None:
        return False
    left = [process for part in found.parts if part.process and (process := part.process.process())]
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=10)
    return bool(left)


def _already_running(folder: Path) -> AlreadyRunningError:
    hint = f"wait for it, or stop it: python -m deploy.local down --folder {folder}"
    return AlreadyRunningError(f"a stack already runs, starts or stops in {folder}", hint=hint)


def _wait_ready(
    folder: Path,
    supervisor: subprocess.Popen[bytes],
    log: Path,
    on_change: Callable[[state.State], None] | None,
) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    last: state.State | None = None
    while time.monotonic() < deadline:
        ended = supervisor.poll() is not None
        found = state.read(folder)
        if found is not None and found.supervisor.pid == supervisor.pid and found != last:
            last = found
            if on_change is not None:
                on_change(found)
            if found.phase == "ready":
                return
        if ended:
            if last is not None and last.error[0]:
                kind, message, hint = last.error
                raise getattr(errors, kind)(message, hint=hint)
            if supervisor.returncode == supervising.OWNED_BY_ANOTHER:
                raise _already_running(folder)
            tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise NotReadyError(f"the supervisor ended while starting:\n{tail}", hint=f"read {log}")
        time.sleep(0.03)  # the deadline is the loop; the state is a file of another process
    raise NotReadyError(f"the stack was not ready within {START_DEADLINE_S:.0f} s", hint=f"read {log}")


def _end(supervisor: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        if supervisor.stdin is not None:
            supervisor.stdin.close()
    except BrokenPipeError:
        pass
    try:
        supervisor.wait(STOP_DEADLINE_S)
    except BaseException:  # a second Ctrl-C too: the kernel ends the parts with their supervisor
        supervisor.kill()
        supervisor.wait()
        end_left_overs(folder)
        raise


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return ports.listens(int(port), host, 2.0)
