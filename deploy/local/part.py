"""What a supervisor starts: values only, no process is made here.

A *part* is a server, an app (a long-running process of the project) or a task (runs once and must end with 0).
A part starts when every part named in ``after`` is ready: a task when it is done, the others when they answer.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["server", "app", "task"]


@dataclass(frozen=True, kw_only=True)
class Account:
    """The system user that a part runs as when the supervisor is root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process.

    name: unique in a plan, also its log's name.
    argv: the program and its arguments, an absolute path first.
    environment: the whole environment of the process.
    folder: its working folder.
    after: names of the parts that must be ready first.
    answers: whether it serves now; called again and again until true, must return within a second. Tasks have none.
    finish: done once, in the supervisor, when the part has become ready and before it is announced.
    deadline_s: from its start until it answers (a task: until it ends).
    stop_signal: asks for an orderly end; ``patience_s`` later it is killed.
    death_signal: sent by the kernel when the supervisor dies: must end the process whatever its state.
    address: where it serves, for people; "" when it serves nothing.
    """

    name: str
    kind: Kind
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    after: tuple[str, ...] = ()
    answers: Callable[[], bool] = field(default=lambda: True)
    finish: Callable[[], None] = field(default=lambda: None)
    deadline_s: float = 120.0
    stop_signal: int = signal.SIGTERM
    patience_s: float = 20.0
    death_signal: int = signal.SIGKILL
    account: Account | None = None
    address: str = ""


def startable(parts: tuple[Part, ...], started: frozenset[str], ready: frozenset[str]) -> tuple[Part, ...]:
    """The parts that may start now, in the plan's order."""
    return tuple(part for part in parts if part.name not in started and ready.issuperset(part.after))


def stop_order(parts: tuple[Part, ...]) -> tuple[tuple[Part, ...], ...]:
    """Who is stopped together: apps and tasks first, then the servers one by one, the last of the plan first."""
    servers = [part for part in parts if part.kind == "server"]
    others = tuple(part for part in reversed(parts) if part.kind != "server")
    return (others, *((server,) for server in reversed(servers)))


def check_plan(parts: tuple[Part, ...]) -> None:
    """Raise ValueError when names repeat or a part waits for one that does not stand before it in the plan."""
    seen: set[str] = set()
    for part in parts:
        if part.name in seen:
            raise ValueError(f"two parts are named {part.name}")
        missing = [name for name in part.after if name not in seen]
        if missing:
            raise ValueError(f"{part.name} waits for {', '.join(missing)}, which does not stand before it")
        seen.add(part.name)
