"""Watching partitions: one watch a query, however many look at it, that reads again when a worker has written there.

    announcement (a hint) ─┐
    now and then           ├─▶ position, rows ─▶ another state? ─▶ whoever waits for the next one
    the first watcher      ─┘

Promised: a watch that lives shows every change of its rows within SWEEP_SECONDS, and with announcements within
milliseconds; the rows are those that a read of the same query without a token would give, by the same way. While Cassandra
is away the last state stands. Not promised: every state in between. A state is never followed by one from before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from projections.partition_marks import Announcement, unpacked
from read_api.freshness import Freshness
from read_api.problem import ProblemError, read_timeout
from read_api.request import Query
from read_api.watched import History, State

SWEEP_SECONDS = 30.0
LINGER_SECONDS = 30.0
"""How long a watch outlives its last watcher, who may come back."""

_COVERED_SECONDS = 0.02  # an announcement follows its position; a read model that is held back is read all the same
_FAILED_SECONDS = 2.0
_READS = 32  # at once, of all watches

_log = get_logger(__name__)

ReadState = Callable[[Lsn | None], Awaitable[State]]
MarksOf = Callable[[State], Awaitable[dict[str, set[int]]]]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is watched. read: its rows as of now, which show a position; raises ProblemError.

    marks: of the partitions they are of, by table.
    """

    query: Query
    limit: int
    key: Sequence[str]
    read: ReadState
    marks: MarksOf


class Watch:
    """A partition that is watched, by `watchers` now, or by nobody since `alone_since`.

    reading: held from a read's beginning until it is shown, so that the newest state is the one that was read last.
    """

    def __init__(self, subject: Subject, first: State) -> None:
        self.subject = subject
        self.history = History(first, subject.key)
        self.watchers = 0
        self.alone_since = asyncio.get_running_loop().time()
        self.reading = asyncio.Lock()
        self.keeping: asyncio.Task[None] | None = None
        self.marks: dict[str, set[int]] = {}
        self.wanted = Lsn(0)
        self._poked = asyncio.Event()
        self._next: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """One watcher less."""
        self.watchers -= 1
        self.alone_since = asyncio.get_running_loop().time()

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
    """All watches of a process. listen: called when there is something to watch.

    most: of them; beyond it those that nobody looks at end before their time. read_s: the longest that a read may take.
    """

    def __init__(
        self,
        freshness: Freshness,
        listen: Callable[[], None] = lambda: None,
        most: int = 4_000,
        read_s: float = 15.0,
    ) -> None:
        self._freshness = freshness
        self._listen = listen
        self._most = most
        self._read_s = read_s
        self._watches: dict[tuple[Query, int], Watch] = {}
        self._opening: dict[tuple[Query, int], asyncio.Task[Watch]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_mark: dict[str, dict[int, set[Watch]]] = {}
        self._reads = asyncio.Semaphore(_READS)

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
            async with self._bounded():
                watch = Watch(subject, await subject.read(None))
                await self._mark(watch)
            self._make_room()
            self._watches[key] = watch
            watch.keeping = task = asyncio.create_task(self._keep(key, watch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return watch
        finally:
            del self._opening[key]

    async def _keep(self, key: tuple[Query, int], watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        # Of watches that began together not all look together.
        sweep = SWEEP_SECONDS * (0.5 + (id(watch) >> 6) % 1_000 / 2_000)
        pause = sweep
        while True:
            await watch.poked(pause)
            if not watch.watchers and loop.time() - watch.alone_since >= LINGER_SECONDS:
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

    def _make_room(self) -> None:
        """End the watch that nobody has looked at for longest, when there are as many as may be."""
        if len(self._watches) < self._most:
            return
        alone = [(watch.alone_since, key) for key, watch in self._watches.items() if not watch.watchers]
        if alone:
            _, key = min(alone, key=lambda one: one[0])
            watch = self._watches.pop(key)
            self._unmark(watch)
            if watch.keeping is not None:
                watch.keeping.cancel()

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._read_s):
                yield
        except TimeoutError:
            raise read_timeout(self._read_s) from None

    async def _read(self, watch: Watch) -> None:
        async with self._bounded(), watch.reading:
            if watch.wanted:
                with contextlib.suppress(ProblemError):
                    await self._freshness.at_least(watch.subject.query.model, watch.wanted, _COVERED_SECONDS)
            watch.show(await watch.subject.read(watch.history.newest.seen))
            await self._mark(watch)

    async def _mark(self, watch: Watch) -> None:
        marks = await watch.subject.marks(watch.history.newest)
        if marks != watch.marks:
            self._unmark(watch)
            watch.marks = marks
            for table, of_table in marks.items():
                for mark in of_table:
                    self._by_mark.setdefault(table, {}).setdefault(mark, set()).add(watch)
            watch.poke(Lsn(0))  # what was written between the read and these marks was announced to nobody

    def _unmark(self, watch: Watch) -> None:
        for table, of_table in watch.marks.items():
            for mark in of_table:
                known = self._by_mark[table][mark]
                known.discard(watch)
                if not known:
                    del self._by_mark[table][mark]
        watch.marks = {}
