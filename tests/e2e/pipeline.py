"""The project's own processes as a test runs them: from the command line, wired by environment, killed when told.

Promised: every process that was started is gone when the pipeline is closed, also those that a test stopped with
SIGSTOP, and whatever the test raised; what they logged stays in `folder`, and `failure` shows its end. Not promised:
that a process is ready when `start` returns; wait for what it is to do (`covered`, `listening`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, SecretStr

from command_api.process.settings import Settings
from command_api.relay.setup import setup as relay_setup
from projector.cassandra.session import close, connect
from projector.configured import load_read_models
from projector.refresh.pseudo_tables import set_up_refresh
from projector.setup import set_up
from tests import preloaded

TREE = Path(__file__).parents[2]
COMMANDS = {
    "relay": ("command_api.relay", "run"),
    "heartbeats": ("command_api.relay", "heartbeats"),
    "projector": ("projector", "run"),
    "refresher": ("projector", "refresh", "--scheduled"),
    "command-api": ("command_api", "serve"),
    "read-api": ("read_api", "serve"),
}


def environment(settings: Settings) -> dict[str, str]:
    """The settings as LOCKSTEP_ variables; holds passwords."""
    found: dict[str, str] = {}
    for section in Settings.model_fields:
        values: BaseModel = getattr(settings, section)
        for name in type(values).model_fields:
            value = _text(getattr(values, name))
            if value is not None:
                found[f"LOCKSTEP_{section}__{name}".upper()] = value
    return found


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case SecretStr():
            return value.get_secret_value()
        case dict():
            return json.dumps({name: _text(inner) for name, inner in value.items()})
        case BaseModel():
            return json.dumps({name: _text(getattr(value, name)) for name in type(value).model_fields})
        case tuple():
            return json.dumps(list(value))
    return str(value)


def wait_for(what: str, condition: Callable[[], Any], seconds: float, why: Callable[[], str] = str) -> Any:
    """The first true value of a condition, asked again and again; fails with `what` and `why()` after a deadline."""
    until, pause = time.monotonic() + seconds, 0.01
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds:g} s. {why()}")
        time.sleep(pause)  # the deadline is above; the condition is any
        pause = min(pause * 1.2, 0.05)  # asking costs servers more than waiting


class Process:
    """One run of a command; `log` is its standard error and output.

    fresh: with an interpreter of its own instead of one forked from a process that has imported everything.
    """

    def __init__(
        self,
        name: str,
        arguments: tuple[str, ...],
        settings: Settings,
        log: Path,
        limit: int = 0,
        *,
        fresh: bool = False,
    ) -> None:
        self.name = name
        self.module = arguments[0]
        self.log = log
        own = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
        own |= {"PYTHONPATH": str(TREE), "PYTHONFAULTHANDLER": "1"} | environment(settings)
        with log.open("ab") as output:
            self._begin = output.tell()
            self._popen: subprocess.Popen[bytes] | preloaded.Forked
            if limit or fresh:
                # Bytes that no file of this process may outgrow.
                before = ["prlimit", f"--fsize={limit}"] if limit else []
                command = [*before, sys.executable, "-m", *arguments]
                self._popen = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=own, cwd=TREE
                )
            else:
                self._popen = preloaded.popen(arguments, own, output)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait(10)

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM, and wait for its exit status."""
        self._popen.send_signal(signal.SIGCONT)
        self._popen.terminate()
        return self._popen.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Wait for it to end by itself; its exit status."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self.name} still runs after {seconds:g} s. {self.tail()}") from error

    def said(self) -> str:
        """What this run has logged; an earlier one of the same name is left out."""
        return self.log.read_bytes()[self._begin :].decode(errors="replace")

    def tail(self, size: int = 6_000) -> str:
        """The end of its log."""
        return f"\n--- {self.log}\n{self.log.read_text(errors='replace')[-size:]}"


class Pipeline:
    """The processes of one test, or one bench, over one `Settings`; fresh: see Process."""

    def __init__(self, settings: Settings, folder: Path, *, fresh: bool = False) -> None:
        self.settings = settings
        self._fresh = fresh
        self.folder = folder
        self._started: list[Process] = []
        self._expected: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def with_settings(self, **sections: Mapping[str, Any]) -> Settings:
        """The settings with other values in some sections."""
        update = {name: getattr(self.settings, name).model_copy(update=dict(of)) for name, of in sections.items()}
        return self.settings.model_copy(update=update)

    def declare(self, read_models: str) -> None:
        """Have `set_up` and the processes that are started from now on know other read models: ``package:ATTRIBUTE``."""
        named = {"read_models": read_models}
        self.settings = self.with_settings(projector=named, read_api=named)

    def run(self, *arguments: str, settings: Settings | None = None, seconds: float = 60) -> str:
        """Run a command to its end; what it printed. Fails unless it ends with 0."""
        name = "-".join(arguments[:2])
        log = self.folder / f"{name}.log"
        start = log.stat().st_size if log.exists() else 0
        process = Process(name, arguments, settings or self.settings, log, fresh=self._fresh)
        self._started.append(process)
        status = process.wait(seconds)
        text = log.read_bytes()[start:].decode(errors="replace")
        assert status == 0, f"{' '.join(arguments)} ended with {status}:\n{text}"
        return text

    def start(self, name: str, *, settings: Settings | None = None, log: str | None = None, limit: int = 0) -> Process:
        """Start a long-running command: relay, projector, refresher, command-api or read-api."""
        path = self.folder / f"{log or name}.log"
        process = Process(log or name, COMMANDS[name], settings or self.settings, path, limit, fresh=self._fresh)
        self._started.append(process)
        return process

    def begin(self, *arguments: str, settings: Settings | None = None, log: str) -> Process:
        """Start any command, and leave it running."""
        path = self.folder / f"{log}.log"
        process = Process(log, arguments, settings or self.settings, path, fresh=self._fresh)
        self._started.append(process)
        return process

    def set_up(self) -> None:
        """What `relay setup` and `projector setup` do, in this process: two fewer are started a test."""
        models = load_read_models(self.settings.projector.read_models)
        relay_setup(self.settings)
        session = connect(self.settings.cassandra)
        try:
            set_up(session, self.settings, models)
        finally:
            close(session)
        set_up_refresh(self.settings, models)

    def logs(self) -> str:
        """The end of every log, with the stacks of what still runs, which this ends."""
        for process in self._started:
            if process.status is None:
                process.send(signal.SIGCONT)
                process.send(signal.SIGABRT)
                with contextlib.suppress(AssertionError):
                    process.wait(5)
        latest = {process.log: process for process in self._started}
        return "".join(process.tail() for process in latest.values())

    @contextlib.contextmanager
    def running(self, *names: str) -> Iterator[list[Process]]:
        """Processes that are to live as long as the block; fails when one has ended by itself."""
        processes = [self.start(name) for name in names]
        self._expected += processes
        yield processes
        self.check()
        for process in processes:
            self._expected.remove(process)
            assert process.stop() == 0, process.tail()

    def check(self) -> bool:
        """Fail when a process that is to be running has ended."""
        for process in self._expected:
            assert process.status is None, f"{process.name} ended with {process.status}. {process.tail()}"
        return True


def listening(process: Process, seconds: float = 30) -> str:
    """The URL that a server's log says it listens at; of a read API when it is connected too."""
    pattern = re.compile(r"https?://127\.0\.0\.1:[1-9]\d*")

    def found() -> str | None:
        assert process.status is None, f"{process.name} ended with {process.status}. {process.tail()}"
        said = process.said()
        match = pattern.search(said)
        return match[0] if match and (process.module != "read_api" or "cassandra_connected" in said) else None

    url: str = wait_for(f"{process.name} listens", found, seconds, process.tail)
    return url
