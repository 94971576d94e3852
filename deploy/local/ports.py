"""Loopback ports: free ones are found once and remembered, so addresses stay the same from one start to the next."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from deploy.local.errors import MachineError, PortInUseError

HOST = "127.0.0.1"
NAMES = (
    "postgres",
    "kafka",
    "kafka-controller",
    "cassandra",
    "cassandra-storage",
    "command-api",
    "relay-metrics",
    "projector-metrics",
    "refresher-metrics",
    "read-api",
)


def listens(port: int, host: str = HOST, wait_s: float = 0.3) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=wait_s):
            return True
    except OSError:
        return False


def parse_wishes(wishes: list[str]) -> dict[str, int]:
    """``NAME=NUMBER`` texts as a mapping; raises MachineError naming the one that isn't."""
    ports: dict[str, int] = {}
    for wish in wishes:
        name, _, number = wish.partition("=")
        if name not in NAMES or not number.isdigit() or not 0 < int(number) < 65536:
            raise MachineError(
                f"{wish!r} is not a port that can be asked for", hint=f"NAME=NUMBER, NAME one of {', '.join(NAMES)}"
            )
        ports[name] = int(number)
    return ports


def choose(asked: Mapping[str, int], remembered: Mapping[str, int]) -> dict[str, int]:
    """A port for every name: the one asked for, else the remembered one if it is still free, else any free one.

    Every chosen port is held until all are chosen, so none is given twice. Raises PortInUseError for one that was asked for.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for name in sorted(NAMES, key=lambda name: (name not in asked, name not in remembered)):
            if name in asked:
                if (found := _hold(asked[name], held)) is None:
                    raise PortInUseError(
                        f"port {asked[name]}, asked for {name}, is in use on {HOST}",
                        hint="stop what listens there (ss -ltnp shows it), ask for another, or leave the choice open",
                    )
            elif (found := _hold(remembered.get(name, 0), held)) is None:
                found = _hold(0, held)
            if found is None:
                raise MachineError(f"no free port on {HOST} for {name}", hint="close some of the programs that listen")
            chosen[name] = found
    return chosen


def _hold(port: int, held: ExitStack) -> int | None:
    candidate = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # As the servers themselves do: a port whose last connections are only timing out counts as free.
    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        candidate.bind((HOST, port))
        candidate.listen(1)
    except OSError:
        return None
    number: int = candidate.getsockname()[1]
    return number
