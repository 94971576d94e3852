"""Which generation of each read model is read: the pointers of the registry, followed within a second.

    pointer ──▶ position ──▶ rows

A read takes the pointer first, then the position of that generation's table, then its rows. Promised: all three are of one
generation (`rows` begins anew when the pointer moved in between); the first read of a process waits for the pointers. A
pointer that has moved is followed once the new generation covers what this process has shown of the one before, looked for every
`SOON_S`, and after `PATIENCE_S` all the same: then a reader without a token may see a state that is milliseconds older.

A process whose declaration a live generation does not hold reads nothing of it: Postgres answers by the process's own select().
One that declares less than the table holds, and the same otherwise, reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from projections.generations import Generation, Registered, registered, table_name
from projections.read_model import ReadModel
from projections.shape import Different, Shape, ShapeFormatError, compare, shape_of
from read_api.problem import ProblemError, StoreNotSetUpError

POLL_S = 0.4
SOON_S = 0.01
PATIENCE_S = 0.4

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Served:
    """table: of the generation that is followed. fits: whether it holds what this process declares."""

    table: str
    fits: bool = True


class Live:
    """The generations that one process reads.

    fetch: the registry's rows; raises ProblemError. covered: by table, what is covered now; raises ProblemError.
    shown: what this process has shown of a read model. moved: told when pointers are followed. version: how often they were.
    """

    def __init__(
        self,
        models: Iterable[ReadModel],
        fetch: Callable[[], Awaitable[Sequence[tuple[Any, ...]]]],
        covered: Callable[[], Awaitable[Mapping[str, Lsn]]],
        shown: Callable[[str], Lsn],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._shapes = {model.name: shape_of(model) for model in models}
        self._served = {name: Served(table=table_name(name, 1)) for name in self._shapes}
        self._fetch = fetch
        self._covered = covered
        self._shown = shown
        self._moved = moved
        self._known = False
        self.version = 0
        self._looking: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the pointers."""
        self._poller = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Follow them no more."""
        tasks = [task for task in (self._poller, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def table(self, name: str) -> str:
        """The table of the generation that is followed."""
        served = self._served.get(name)
        return name if served is None else served.table

    def fits(self, name: str) -> bool:
        """Whether that holds what this process declares."""
        served = self._served.get(name)
        return served is None or served.fits

    async def known(self) -> None:
        """Wait until the pointers were read once; raises ProblemError."""
        if not self._known:
            await self.look()

    async def look(self) -> None:
        """Read the pointers now, and follow those that have moved; raises ProblemError."""
        if self._looking is None:  # shared by all who ask
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(ProblemError):  # a store that is away is told to whoever reads it
                await self.look()
            await asyncio.sleep(POLL_S)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            until = loop.time() + PATIENCE_S
            while True:
                wanted = self._wanted(await self._registered())
                moved = {name: served for name, served in wanted.items() if served != self._served[name]}
                if self._known and loop.time() < until:
                    covered = await self._covered() if moved else {}
                    moved = {
                        name: served
                        for name, served in moved.items()
                        if served.table == self._served[name].table or covered.get(served.table, 0) >= self._shown(name)
                    }
                self._follow(moved)
                if wanted == self._served:
                    return
                await asyncio.sleep(SOON_S)
        finally:
            self._looking = None

    async def _registered(self) -> dict[str, Registered]:
        try:
            return registered(await self._fetch())
        except StoreNotSetUpError:
            return {}  # set up before there were generations, or not at all, which the read itself will find

    def _wanted(self, found: Mapping[str, Registered]) -> dict[str, Served]:
        return {
            name: Served(table=found[name].current.table, fits=fits(shape, found[name].current))
            if name in found
            else Served(table=table_name(name, 1))
            for name, shape in self._shapes.items()
        }

    def _follow(self, moved: Mapping[str, Served]) -> None:
        self._known = True
        if not moved:
            return
        for name, served in moved.items():
            before, self._served[name] = self._served[name], served
            _log.info(
                "another generation is read", model=name, table=served.table, before=before.table, fits=served.fits
            )
        self.version += 1
        self._moved()


def fits(declared: Shape, generation: Generation) -> bool:
    """Whether a generation's table can be read with this declaration; one of unknown shape can, as ever."""
    if not generation.fingerprint or generation.fingerprint == declared.fingerprint:
        return True
    try:
        return not isinstance(compare(declared, Shape.from_json(generation.shape)), Different)
    except ShapeFormatError:
        return False
