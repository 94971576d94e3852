"""``python -m deploy.local``: the stack's commands. Errors are printed with their remedy and end with exit code 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from deploy.local import folders, ports, relock, stack, state, supervisor
from deploy.local.errors import StackError
from deploy.local.jars import LOCK_FILE
from deploy.local.plan import SERVERS

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
console = Console(stderr=True, highlight=False)

Folder = Annotated[Path, typer.Option(help="Where state, logs and data lie.")]
ServersOnly = Annotated[
    bool, typer.Option("--servers-only", help="PostgreSQL, Kafka and Cassandra, nothing of the project.")
]
Ports = Annotated[
    list[str], typer.Option("--port", help=f"A fixed port, NAME=NUMBER; names: {', '.join(ports.NAMES)}.")
]


P = ParamSpec("P")


def _reported(command: Callable[P, int]) -> Callable[P, None]:
    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except StackError as error:
            console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            code = 1
        except KeyboardInterrupt:
            console.print("interrupted: nothing is left running")
            code = 130
        raise typer.Exit(code)

    return run


class _Announcer:
    """Prints each part once as it becomes ready."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, now: state.State) -> None:
        for part in now.parts:
            if part.phase in ("ready", "done") and part.name not in self._said:
                self._said.add(part.name)
                console.print(f"  {part.name:<17}{part.took_s or 0:6.1f} s  {part.address}", markup=False)


def _summary(running: stack.Running) -> None:
    now = running.state
    table = Table("part", "state", "address", "pid", "restarts", title=f"stack in {running.folder}: {now.phase}")
    for part in now.parts:
        if part.kind != "task":
            pid = str(part.process.pid) if part.process else ""
            table.add_row(part.name, part.phase, part.address, pid, str(part.restarts))
    Console().print(table)


@app.command()
def up(folder: Folder = folders.STACK_FOLDER, servers_only: ServersOnly = False, port: Ports = []) -> None:  # noqa: B006
    """Start everything and leave it running; a running stack is found and shown.

    Example: python -m deploy.local up --port kafka=9092
    """
    _reported(_up)(folder, servers_only, port)


def _up(folder: Path, servers_only: bool, port: list[str]) -> int:
    asked = ports.parse_wishes(port)
    found = stack.find(folder)
    if found is not None:
        if found.state.only and not servers_only:
            raise StackError(
                f"the stack in {folder} runs the servers only", hint="make down, then make up starts everything"
            )
        console.print("already running")
    else:
        options = stack.Options(folder=folder, only=SERVERS if servers_only else (), ports=asked)
        found = stack.start(options, console, _Announcer())
        found.keep()
    try:
        _summary(found)
        console.print(
            f"any command reaches it with LOCKSTEP_FILE={found.settings_file}; make down stops it",
            markup=False,
            soft_wrap=True,
        )
    except KeyboardInterrupt:
        console.print("interrupted: the stack runs; make down stops it")
        return 130
    return 0


@app.command()
def down(folder: Folder = folders.STACK_FOLDER) -> None:
    """Stop the running stack and wait until every process has ended; the data stays.

    Example: python -m deploy.local down
    """
    _reported(_down)(folder)


def _down(folder: Path) -> int:
    console.print("stopped" if stack.stop(folder) else "nothing was running")
    return 0


@app.command()
def status(folder: Folder = folders.STACK_FOLDER) -> None:
    """Show the running stack; exit code 3 when there is none.

    Example: python -m deploy.local status
    """
    _reported(_status)(folder)


def _status(folder: Path) -> int:
    found = stack.find(folder)
    if found is None:
        console.print("nothing is running")
        return 3
    _summary(found)
    return 0


@app.command()
def demo() -> None:
    """Start everything on data of its own, run the demonstration, stop everything.

    Example: python -m deploy.local demo
    """
    _reported(_demo)()


def _demo() -> int:
    from command_api.process.settings import Settings
    from deploy.local.demo import run_demo
    from deploy.local.demo_feeds import THRESHOLD

    os.environ.setdefault("LOCKSTEP_FEED_THRESHOLD", str(THRESHOLD))  # the processes of the stack inherit it
    options = stack.Options(folder=folders.STACK_FOLDER / "demo", throw_away=True)
    with stack.start(options, console, _Announcer()) as running:
        os.environ["LOCKSTEP_FILE"] = str(running.settings_file)
        return run_demo(Settings())


@app.command()
def lock() -> None:
    """Resolve the Java parts again and write the lock file; needed only when a version changes.

    Example: python -m deploy.local lock
    """
    _reported(_lock)()


def _lock() -> int:
    LOCK_FILE.write_text(relock.relock(folders.cache_folder() / "resolve"), encoding="utf-8")
    console.print(f"wrote {LOCK_FILE}")
    return 0


@app.command(hidden=True)
def supervise(
    folder: Folder,
    only: Annotated[list[str], typer.Option()] = [],  # noqa: B006
    throw_away: bool = False,
    port: Ports = [],  # noqa: B006
) -> None:
    """Own a stack's processes; started by the other commands, which hold its standard input as a lease."""
    right = supervisor.lock(folder)
    if right is None:
        print(f"another supervisor owns {folder}")
        sys.exit(supervisor.OWNED_BY_ANOTHER)
    with right:
        sys.exit(supervisor.supervise(folder, ports.parse_wishes(port), only=tuple(only), throw_away=throw_away))
