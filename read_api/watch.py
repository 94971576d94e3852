"""Watching partitions: one watch a query, however many look at it, that reads again when a worker has written there.

    announcement (a hint) ─┐
    now and then           ├─▶ position, rows ─▶ another state? ─▶ whoever waits for the next one
    the first watcher      ─┘

Promised: a watch that lives shows every change of its rows within SWEEP_SECONDS, and with announcements within
milliseconds; the rows are those that a read of the same query without a token would give, by the same way. While Cassandra
is away the last state stands. Not promised: every state in between; nor the quick way for rows that are merged at read time
from partitions of others (authors too hot to be copied).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from projections.partition_marks import Announcement, unpacked
from read_api.freshness import Freshness
from read_api.problem import ProblemError
from read_api.request import Query
from read_api.watched import History, State

SWEEP_SECONDS = 30.0
LINGER_SECONDS = 30.0
"""How long a watch outlives its last watcher, who may come back."""

_COVERED_SECONDS = 0.02  # an announcement follows its position; a read model that is held back is read all the same
_FAILED_SECONDS = 2.0
_READS = 32  # at once, of all watches

_log = get_logger(__name__)

ReadState = Callable[[], Awaitable[State]]
MarksOf = Callable[[State], Awaitable[dict[str, set[int]]]]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is watched. read: its rows as of now; raises ProblemError. marks: of the partitions they are of, by table."""

    query: Query
    limit: int
    key: Sequence[str]
    read: ReadState
    marks: MarksOf


class Watch:
    """A partition that is watched, by `watchers` now."""

    def __init__(self, subject: Subject, first: State) -> None:
        self.subject = subject
        self.history = History(first, subject.key)
        self.watchers = 0
        self.marks: dict[str, set[int]] = {}
        self.wanted = Lsn(0)
        self._poked = asyncio.Event()
        self._next: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def poke(self, lsn: Lsn) -> None:
        """Have it read again; a worker has written it at `lsn`."""
        self.wanted = max(self.wanted, lsn)
        self._poked.set()

    async def moved(self, digest: str, seconds: float) -> bool:
        """Wait until the newest state is not the one of this digest; False when it is after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.history.newest.digest == digest:
                    await asyncio.shield(self._next)
        return self.history.newest.digest != digest

    async def poked(self, seconds: float) -> None:
        """Wait for the next hint, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._poked.wait()
        self._poked.clear()

    def show(self, state: State) -> None:
        """A newer state, for whoever waits."""
        if self.history.add(state):
            before, self._next = self._next, asyncio.get_running_loop().create_future()
            before.set_result(None)


class Watches:
    """All watches of a process. listen: called when there is something to watch."""

    def __init__(self, freshness: Freshness, listen: Callable[[], None] = lambda: None) -> None:
        self._freshness = freshness
        self._listen = listen
        self._watches: dict[tuple[Query, int], Watch] = {}
        self._opening: dict[tuple[Query, int], asyncio.Task[Watch]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_mark: dict[str, dict[int, set[Watch]]] = {}
        self._reads = asyncio.Semaphore(_READS)

    def __len__(self) -> int:
        return len(self._watches)

    async def watch(self, subject: Subject) -> Watch:
        """The watch of a query, its rows read at least once; raises ProblemError. Counts one more watcher."""
        key = (subject.query, subject.limit)
        self._listen()
        while (found := self._watches.get(key)) is None:
            if key not in self._opening:
                self._opening[key] = asyncio.create_task(self._open(key, subject))
            await asyncio.shield(self._opening[key])
        found.watchers += 1
        return found

    def heard(self, announcement: Announcement) -> None:
        """Have the watches of what was written read again."""
        for table, packed in announcement.marks.items():
            by_mark = self._by_mark.get(table)
            if by_mark:
                written = by_mark.keys() if packed is None else by_mark.keys() & unpacked(packed)
                for watch in {watch for mark in written for watch in by_mark[mark]}:
                    watch.poke(Lsn(announcement.lsn))

    def look_at_all(self) -> None:
        """Have every watch read again: nobody knows what was announced until now."""
        for watch in self._watches.values():
            watch.poke(Lsn(0))

    async def look(self, watch: Watch) -> None:
        """Read it again now; raises ProblemError."""
        await self._read(watch)

    async def stop(self) -> None:
        """End them all."""
        tasks = [*self._tasks, *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, key: tuple[Query, int], subject: Subject) -> Watch:
        try:
            watch = Watch(subject, await subject.read())
            await self._mark(watch)
            self._watches[key] = watch
            task = asyncio.create_task(self._keep(key, watch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            watch.poke(Lsn(0))  # what was written between its first read and its marks was announced to nobody
            return watch
        finally:
            del self._opening[key]

    async def _keep(self, key: tuple[Query, int], watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        # Of watches that began together not all look together.
        sweep = SWEEP_SECONDS * (0.5 + (id(watch) >> 6) % 1_000 / 2_000)
        alone_since, pause = loop.time(), sweep
        while True:
            await watch.poked(pause)
            if watch.watchers:
                alone_since = loop.time()
            elif loop.time() - alone_since >= LINGER_SECONDS:
                break
            pause = sweep
            try:
                async with self._reads:
                    await self._read(watch)
            except ProblemError:
                pause = _FAILED_SECONDS
            except Exception:
                _log.exception("a watched partition can't be read", model=watch.subject.query.model)
                pause = _FAILED_SECONDS
        self._unmark(watch)
        del self._watches[key]

    async def _read(self, watch: Watch) -> None:
        if watch.wanted:
            with contextlib.suppress(ProblemError):
                await self._freshness.at_least(watch.subject.query.model, watch.wanted, _COVERED_SECONDS)
        watch.show(await watch.subject.read())
        await self._mark(watch)

    async def _mark(self, watch: Watch) -> None:
        marks = await watch.subject.marks(watch.history.newest)
        if marks != watch.marks:
            self._unmark(watch)
            watch.marks = marks
            for table, of_table in marks.items():
                for mark in of_table:
                    self._by_mark.setdefault(table, {}).setdefault(mark, set()).add(watch)

    def _unmark(self, watch: Watch) -> None:
        for table, of_table in watch.marks.items():
            for mark in of_table:
                known = self._by_mark[table][mark]
                known.discard(watch)
                if not known:
                    del self._by_mark[table][mark]
