"""Commands of the project as processes that need not import it: forked from one that has.

A test run starts about 800 processes, and nine tenths of the CPU second that each one costs before it does anything are
imports. `popen` gives what `subprocess.Popen` gives of a process that was begun by ``python -m``: its own pid, environment,
descriptors, signals and end. What it can't show is that the imports themselves work; the tests of the command lines, the
README and the local stack start theirs afresh.

The parent of them all is ``python -m tests.preloaded``: one thread, no client of any server, everything imported. It is
started with the first process and ends with the test run; a process whose starter is gone is killed, as none is to outlive it.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import queue
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

TREE = Path(__file__).parents[1]
_PACKAGES = ("command_api", "projections", "projector", "read_api")
# What they, or a library, import when first used.
_LATER = (
    "asyncio.unix_events",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "sqlalchemy.dialects.postgresql.psycopg",
    "encodings.idna",
    "rich.traceback",
)
_MESSAGE = 1 << 20


class Forked:
    """One such process; `poll`, `wait` and the signals as of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Parent:
    """The preloaded process, and what it says of its children."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                cwd=TREE,
                env=environment | {"PYTHONPATH": str(TREE)},
            )
        self._begun: queue.Queue[Forked | None] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="preloaded", daemon=True).start()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], outputs: tuple[int, int]) -> Forked:
        message = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        with self._lock:
            socket.send_fds(self._ours, [message], outputs)
            begun = self._begun.get()
        if begun is None:
            raise RuntimeError(f"the preloaded process ended with {self._process.wait()}; its error stands above")
        return begun

    def _listen(self) -> None:
        running: dict[int, Forked] = {}
        while said := self._ours.recv(_MESSAGE):
            pid, status = json.loads(said)
            if status is None:
                running[pid] = Forked(pid)
                self._begun.put(running[pid])
            else:
                ended = running.pop(pid)
                ended.returncode = status
                ended.ended.set()
        self._begun.put(None)


_parent: _Parent | None = None
_starting = threading.Lock()


def popen(
    arguments: Sequence[str], environment: Mapping[str, str], output: IO[bytes], errors: IO[bytes] | None = None
) -> Forked:
    """Run ``python -m arguments…`` with exactly this environment, in the project's tree, both outputs into `output`.

    errors: where the standard error goes instead.
    """
    global _parent
    with _starting:
        if _parent is None:
            _parent = _Parent()
    return _parent.start(arguments, environment, (output.fileno(), (errors or output).fileno()))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The same to its end, as ``subprocess.run(…, capture_output=True, text=True, timeout=60)``."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = popen(arguments, environment, output, errors)
        try:
            status = process.wait(60)
        finally:
            process.kill()
        said = [os.pread(each.fileno(), os.fstat(each.fileno()).st_size, 0).decode() for each in (output, errors)]
    return subprocess.CompletedProcess(arguments, status, *said)


def _import_all() -> None:
    for name in _PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if not module.name.startswith("command_api.migrations."):  # alembic runs those
                importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _serve(connection: socket.socket) -> list[str] | None:
    """Fork when told until the other end is gone; returns the command line in each child, and None in the parent."""
    children: dict[int, int] = {}  # pidfd → pid
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != connection.fileno():
                poll.unregister(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid := children.pop(descriptor), 0)
                connection.send(json.dumps([pid, os.waitstatus_to_exitcode(status)]).encode())
                continue
            message, (*outputs,), _, _ = socket.recv_fds(connection, _MESSAGE, 2)
            if not message:
                for pid in children.values():
                    os.kill(pid, signal.SIGKILL)
                return None
            pid = os.fork()
            if pid == 0:
                connection.close()
                for other in children:
                    os.close(other)
                return _become(message, *outputs)
            for output in outputs:
                os.close(output)
            children[beside := os.pidfd_open(pid)] = pid
            poll.register(beside, select.POLLIN)
            connection.send(json.dumps([pid, None]).encode())


def _become(message: bytes, output: int, errors: int) -> list[str]:
    told = json.loads(message)
    os.environ.clear()
    os.environ.update(told["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()
    arguments: list[str] = told["arguments"]
    return arguments


def _main() -> None:
    _import_all()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"an import has begun a thread; a process with {threads} can't be forked safely"
    arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:
        module, *sys.argv[1:] = arguments
        sys.modules.pop(f"{module}.__main__", None)  # is run as if it were not imported
        _leave(_status_of(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)))


def _status_of(run: Callable[[], object]) -> int:
    """Run it to its end; the status that the interpreter would exit with."""
    try:
        run()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _leave(status: int) -> NoReturn:
    """End as an interpreter does, but let the kernel take down what was imported: piece by piece it would be copied first, a
    page at a time, which took a third of a short command's CPU.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does by this name
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _main()
