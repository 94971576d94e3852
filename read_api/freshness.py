"""Which log position each read model covers, and waiting until it covers a reader's token.

Promised: the position that `at_least` returns was read from Cassandra before it returned, so rows that are read
afterwards show that position or a later one (position first, then rows; both at LOCAL_QUORUM). Every waiter of the
process shares one poller: it reads all positions every POLL_SECONDS while somebody waits, and rests otherwise. Not
promised: that the position is the newest; without a token it may be MAX_AGE_SECONDS old, which makes the reported
lag larger, never smaller.

**Lag** is this machine's clock minus the commit time of the last covered transaction or heartbeat, never below 0: an
upper bound on how old the shown state is. On an idle log it grows up to the interval between heartbeats and is no
sign of trouble; clocks of different machines add their difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from command_api.lsn import Lsn
from read_api.instants import now_micros
from read_api.problem import NotCoveredError, ProblemError

POLL_SECONDS = 0.002
MAX_AGE_SECONDS = 0.010
_FAILED_POLL_SECONDS = 0.050  # while Cassandra is away
_LEAST_READ_SECONDS = 0.25  # of the positions, also for whoever waits for no coverage


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a read model is: `lsn` is covered; `committed_at` in microseconds, None when nothing was covered yet.

    unfilled: rows lack values of a column that its table got after it was made; nothing is covered until they have them.
    dead_letters: rows that its table lacks because Cassandra refused them.
    """

    lsn: Lsn
    committed_at: int | None
    unfilled: bool = False
    dead_letters: int = 0

    def lag_seconds(self, now: int | None = None) -> float | None:
        """See the module; None when nothing was covered yet."""
        if self.committed_at is None:
            return None
        return max(0, (now_micros() if now is None else now) - self.committed_at) / 1e6


NOTHING = Position(lsn=Lsn(0), committed_at=None)
_UNFILLED = Position(lsn=Lsn(0), committed_at=None, unfilled=True)


def of_columns(table: Position, added: Iterable[Position]) -> Position:
    """The position of a table's rows with the columns that it got later (`projections.added_columns`)."""
    least = min((table, *added), key=lambda one: one.lsn)
    return replace(_UNFILLED if any(not one.lsn for one in added) else least, dead_letters=table.dead_letters)


@dataclass(frozen=True, kw_only=True)
class PositionRow:
    """A row of the positions table."""

    read_model: str
    shard: int
    lsn: int
    epoch: int
    committed_at: int | None
    dead_letters: int = 0


def covered(rows: Iterable[PositionRow], epoch: int) -> dict[str, Position]:
    """The position of each read model: the least of its shards in its newest epoch.

    LSNs of two source histories can't be compared: a shard behind the newest epoch, or behind `epoch`, covers nothing.
    """
    shards: dict[str, list[PositionRow]] = {}
    for row in rows:
        shards.setdefault(row.read_model, []).append(row)
    positions = {}
    for name, of_model in shards.items():
        newest = max(epoch, *(row.epoch for row in of_model))
        least = min(of_model, key=lambda row: (row.epoch, row.lsn))
        found = Position(lsn=Lsn(least.lsn), committed_at=least.committed_at) if least.epoch == newest else NOTHING
        positions[name] = replace(found, dead_letters=sum(row.dead_letters for row in of_model))
    return positions


@dataclass(eq=False)
class _Waiter:
    token: Lsn
    future: asyncio.Future[Position] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Freshness:
    """Positions as this process knows them.

    fetch: reads them all from Cassandra; raises ProblemError.
    waited: told of every wait: the read model, its seconds, and whether the token was covered.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Mapping[str, Position]]],
        waited: Callable[[str, float, bool], None] = lambda _model, _seconds, _covered: None,
    ) -> None:
        self._fetch = fetch
        self._waited = waited
        self._positions: Mapping[str, Position] = {}
        self._known_at = float("-inf")
        self._flight: asyncio.Task[None] | None = None
        self._waiters: dict[str, set[_Waiter]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._failure: ProblemError | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return sum(map(len, self._waiters.values()))

    async def positions(self) -> Mapping[str, Position]:
        """All positions, at most MAX_AGE_SECONDS old; raises ProblemError."""
        if asyncio.get_running_loop().time() - self._known_at > MAX_AGE_SECONDS:
            await self._refresh()
        return self._positions

    async def at_least(self, model: str, token: Lsn | None, bound: float) -> Position:
        """A position of `model` not below `token`, waited for at most `bound` seconds; raises ProblemError.

        What was known to be covered stays covered, so a token at or below it costs no read.
        """
        if token is None:
            return (await self.positions()).get(model, NOTHING)
        known = self._positions.get(model, NOTHING)
        age = asyncio.get_running_loop().time() - self._known_at
        if known.lsn >= token and age <= MAX_AGE_SECONDS:
            return known
        loop = asyncio.get_running_loop()
        until = loop.time() + bound
        try:
            async with asyncio.timeout(max(bound, _LEAST_READ_SECONDS)):
                await self._refresh()
        except TimeoutError:
            raise self._not_covered(model, token, bound) from None
        known = self._positions.get(model, NOTHING)
        if known.unfilled:  # a fill takes longer than anybody waits
            raise self._not_covered(model, token, 0.0)
        return known if known.lsn >= token else await self._wait(model, token, max(0.0, until - loop.time()), bound)

    def shown(self, model: str) -> Lsn:
        """What is known to be covered of a read model, and so may have been shown."""
        return self._positions.get(model, NOTHING).lsn

    def lag_seconds(self, model: str) -> float | None:
        """The lag of a read model as far as it is known, also while Cassandra is away; None when it never was."""
        return self._positions.get(model, NOTHING).lag_seconds()

    def dead_letters(self, model: str) -> int:
        """How many rows a read model's table lacks, as of the newest position that is known."""
        return self._positions.get(model, NOTHING).dead_letters

    def forget(self) -> None:
        """Forget what is known: positions are now those of other generations."""
        self._positions, self._known_at = {}, float("-inf")

    async def stop(self) -> None:
        """End the poller; waiters, if any are left, end with their requests."""
        tasks = [task for task in (self._poller, self._flight) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, model: str, token: Lsn, left: float, bound: float) -> Position:
        waiter = _Waiter(token)
        waiters = self._waiters.setdefault(model, set())
        waiters.add(waiter)
        if self._poller is None or self._poller.done():
            self._failure = None
            self._poller = asyncio.create_task(self._poll())
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(left):
                position = await waiter.future
        except TimeoutError:
            self._waited(model, loop.time() - began, False)
            raise self._failure or self._not_covered(model, token, bound) from None
        finally:
            waiters.discard(waiter)
        self._waited(model, loop.time() - began, True)
        return position

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting:
            began = loop.time()
            try:
                await self._refresh()
                self._failure = None
                # The read's own time counts: a wait adds at most a period and a read to the lag.
                await asyncio.sleep(max(0.0, began + POLL_SECONDS - loop.time()))
            except ProblemError as error:
                self._failure = error
                await asyncio.sleep(_FAILED_POLL_SECONDS)

    async def _refresh(self) -> None:
        # Shared: whoever asks while a read is under way takes its answer; that too comes before the asker's rows.
        if self._flight is None:
            self._flight = asyncio.create_task(self._read())
        await asyncio.shield(self._flight)

    async def _read(self) -> None:
        started = asyncio.get_running_loop().time()
        try:
            positions = await self._fetch()
        finally:
            self._flight = None
        before, self._positions, self._known_at = self._positions, positions, started
        for model, waiters in self._waiters.items():
            position = positions.get(model, NOTHING)
            if waiters and position != before.get(model):
                for waiter in waiters:
                    if waiter.token <= position.lsn and not waiter.future.done():
                        waiter.future.set_result(position)

    def _not_covered(self, model: str, token: Lsn, bound: float) -> NotCoveredError:
        position = self._positions.get(model, NOTHING)
        lag = position.lag_seconds()
        return NotCoveredError(
            f"{model} covers {position.lsn} and did not reach {token} within {bound:g} s",
            hint="repeat the request after Retry-After seconds, or leave the token out to read what is there now",
            headers={"Retry-After": "1"},
            token=str(token),
            covered_lsn=str(position.lsn),
            lag_seconds=lag,
        )
