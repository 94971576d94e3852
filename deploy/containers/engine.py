"""A Docker engine of one's own where none answers: dockerd with its own data, socket and pid file below one folder.

Promised: an engine that answers already is left alone, and one that was started here is ended by `down` and by the pid in
its own file, never by name. Not promised: that it survives a restart of the machine, or that two such engines get along
with each other: they share the network bridge docker0.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.containers import packages
from deploy.containers.errors import CommandError, NoEngineError
from deploy.containers.run import run

_START_S = 60.0
_STOP_S = 60.0
_SOCKET_MOST = 90  # bytes of a path; the kernel allows a socket 107, and containerd's lie a little deeper


@dataclass(frozen=True, kw_only=True)
class Engine:
    """folder: of everything that belongs to it."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def pid_file(self) -> Path:
        return self.folder / "dockerd.pid"

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    def variables(self) -> dict[str, str]:
        """What leads docker, docker compose and testcontainers to it."""
        return {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.folder / "client")}

    def process(self) -> psutil.Process | None:
        """The running dockerd of this folder."""
        try:
            process = psutil.Process(int(self.pid_file.read_text()))
            return process if str(self.pid_file) in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None


def answers(environment: dict[str, str] | None = None) -> bool:
    """Whether an engine answers docker's client now, under the environment and what is given over it."""
    try:
        run(("docker", "version", "--format", "{{.Server.Version}}"), hint="", environment=environment, deadline_s=20)
    except CommandError:
        return False
    return True


def up(folder: Path) -> dict[str, str]:
    """Variables that lead to an engine: none when one answers already, else those of one that is started now.

    Raises NoEngineError, CommandError; nothing is left running then.
    """
    if answers():
        return {}
    engine = Engine(folder=folder.absolute())
    if engine.process() is not None and not answers(engine.variables()):
        raise NoEngineError(
            f"the engine in {engine.folder} runs, but does not answer",
            hint=f"look into {engine.log}; python -m deploy.containers engine down --folder {folder} ends it",
        )
    if len(str(engine.socket)) > _SOCKET_MOST:
        raise NoEngineError(
            f"{engine.socket} is too long for a socket", hint="choose a shorter --folder, such as /var/tmp/docker"
        )
    packages.install()
    packages.compose_plugin(engine.folder / "client")  # before the engine: what can't be had leaves none running
    if engine.process() is None:
        _start(engine)
    return engine.variables()


def down(folder: Path, *, remove: bool = False) -> bool:
    """End the engine of a folder with all its containers, and wait; False when none runs. remove: its images and data too."""
    engine = Engine(folder=folder.absolute())
    process = engine.process()
    if process is not None:
        _end(process)
    if remove and engine.folder.exists():
        shutil.rmtree(engine.folder)
    return process is not None


def _start(engine: Engine) -> None:
    engine.folder.mkdir(parents=True, exist_ok=True)
    argv = (
        *("dockerd", "--host", f"unix://{engine.socket}", "--pidfile", str(engine.pid_file)),
        *("--data-root", str(engine.folder / "data"), "--exec-root", str(engine.folder / "run")),
    )
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    with engine.log.open("wb") as output:
        started = subprocess.Popen(  # noqa: S603 - Debian's program with arguments of this file
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )
    until = time.monotonic() + _START_S
    try:
        while not answers(engine.variables()):
            if started.poll() is not None or time.monotonic() > until:
                tail = engine.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
                raise NoEngineError(
                    f"dockerd does not answer:\n{tail}",
                    hint="it needs root, iptables and control groups; in a container of its own, a privileged one",
                )
            time.sleep(0.2)  # the deadline is above; the socket is another process's
    except BaseException:
        if started.poll() is None:
            _end(psutil.Process(started.pid))
        raise


def _end(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_S)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired as error:
        raise NoEngineError(
            f"dockerd {process.pid} did not end within {_STOP_S:g} s", hint=f"kill -9 {process.pid}"
        ) from error
