"""The generations of read models: tables beside each other for one name, of which one is *live*. Pure; no connection here.

    <name>         generation 1, the table that `projector setup` makes
    <name>__g2     generation 2, built beside it (`projector.generations`), and so on

The registry `projection_generations` has a partition for each projection: a row for each generation, and the row of
generation 0, whose `live` names the generation that is read: the pointer. Every write of it is conditional (IF), so that of
two builds or two switches one wins; it is no read model's table, whose writes carry log positions instead. Positions
belong to a generation: the row `read_model` of `projection_positions` is the name of the generation's table.

    building ──▶ built ──▶ verified ──▶ dropped        first: generation 1, which nobody built
                   └─────▶ failed  ───▶ dropped
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

REGISTRY = "projection_generations"
FIRST = 1
_POINTER = 0


class State(StrEnum):
    """Of a generation: how far it is. Only one that is FIRST or VERIFIED may be live."""

    FIRST = "first"
    BUILDING = "building"
    BUILT = "built"
    VERIFIED = "verified"
    FAILED = "failed"
    DROPPED = "dropped"


READY = frozenset({State.FIRST, State.VERIFIED})
OPEN = frozenset({State.BUILDING, State.BUILT})


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation as the registry has it.

    table: its name in Cassandra. shape, fingerprint: of the declaration that it holds (`projections.shape`), the first as
    JSON; both empty when nobody has registered it. reason: why it failed or was dropped. changed_at: of its state,
    microseconds. builder: who builds it; told_at: when that one last said so. progress: what it said, JSON.
    """

    read_model: str
    number: int
    table: str
    state: State = State.FIRST
    shape: str = ""
    fingerprint: str = ""
    reason: str = ""
    created_at: int = 0
    changed_at: int = 0
    builder: str = ""
    told_at: int = 0
    progress: str = ""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A read model's generations. live: the number of the one that is read. switched_at: when it became that."""

    read_model: str
    generations: Mapping[int, Generation]
    live: int
    switched_at: int = 0

    @property
    def current(self) -> Generation:
        """The live one."""
        return self.generations[self.live]

    def written_by(self, fingerprint: str) -> Generation | None:
        """The generation that a worker with this declaration keeps equal to it: the live one if that is its own, else the
        newest other that may be live; None when there is none."""
        if self.current.fingerprint == fingerprint:
            return self.current
        fit = [g for g in self.generations.values() if g.fingerprint == fingerprint and g.state in READY]
        return max(fit, key=lambda g: g.number, default=None)


def table_name(read_model: str, number: int) -> str:
    """The name in Cassandra of a generation's table."""
    return read_model if number == FIRST else f"{read_model}__g{number}"


def unregistered(read_model: str) -> Registered:
    """What a read model is that was set up before there was a registry: its first generation, of unknown shape."""
    first = Generation(read_model=read_model, number=FIRST, table=table_name(read_model, FIRST))
    return Registered(read_model=read_model, generations={FIRST: first}, live=FIRST)


def create_registry(keyspace: str) -> str:
    """CREATE of the registry; see the module."""
    return (
        f'CREATE TABLE IF NOT EXISTS "{keyspace}"."{REGISTRY}" (projection text, read_model text, generation int, live int,'
        " table_name text, state text, shape text, fingerprint text, reason text, created_at bigint, changed_at bigint,"
        " builder text, told_at bigint, progress text, PRIMARY KEY ((projection), read_model, generation))"
    )


COLUMNS = (
    "read_model", "generation", "live", "table_name", "state", "shape", "fingerprint", "reason", "created_at",
    "changed_at", "builder", "told_at", "progress",
)  # fmt: skip


def select_registry(keyspace: str, marker: str = "?") -> str:
    """SELECT of all generations of a projection, in `COLUMNS`; its one marker is the projection."""
    return f'SELECT {", ".join(COLUMNS)} FROM "{keyspace}"."{REGISTRY}" WHERE projection = {marker}'


def registered(rows: Iterable[tuple[Any, ...]]) -> dict[str, Registered]:
    """The read models of the registry's rows, each a tuple in `COLUMNS`; without those that have no pointer."""
    found: dict[str, dict[int, Generation]] = {}
    live: dict[str, tuple[int, int]] = {}
    for row in rows:
        of = dict(zip(COLUMNS, row, strict=True))
        name = of["read_model"]
        if of["generation"] == _POINTER:
            if of["live"] is not None:
                live[name] = of["live"], of["changed_at"] or 0
            continue
        if of["state"] is None:
            continue
        found.setdefault(name, {})[of["generation"]] = Generation(
            read_model=name,
            number=of["generation"],
            table=of["table_name"],
            state=State(of["state"]),
            shape=of["shape"] or "",
            fingerprint=of["fingerprint"] or "",
            reason=of["reason"] or "",
            created_at=of["created_at"] or 0,
            changed_at=of["changed_at"] or 0,
            builder=of["builder"] or "",
            told_at=of["told_at"] or 0,
            progress=of["progress"] or "",
        )
    return {
        name: Registered(read_model=name, generations=found[name], live=number, switched_at=at)
        for name, (number, at) in live.items()
        if number in found.get(name, {})
    }
