"""Positions and waiting: one read for many, one poller for all waiters, and never an answer below the token."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from command_api.lsn import Lsn
from read_api import freshness
from read_api.freshness import NOTHING, Freshness, Position, PositionRow, covered
from read_api.problem import NotCoveredError, StoreUnavailableError


def row(model: str = "m", shard: int = 0, lsn: int = 10, epoch: int = 1, committed_at: int | None = 5) -> PositionRow:
    return PositionRow(read_model=model, shard=shard, lsn=lsn, epoch=epoch, committed_at=committed_at)


class Source:
    """Where the positions are read; a test moves `lsn` or sets `failure`."""

    def __init__(self, lsn: int = 0) -> None:
        self.lsn = lsn
        self.reads = 0
        self.failure: Exception | None = None
        self.seconds = 0.001

    async def __call__(self) -> Mapping[str, Position]:
        self.reads += 1
        lsn, failure = self.lsn, self.failure  # as of the read's start: what comes later is seen by the next read
        await asyncio.sleep(self.seconds)
        if failure is not None:
            raise failure
        return {"m": Position(lsn=Lsn(lsn), committed_at=1_000_000)}


def run(test: Callable[[Freshness, Source], Awaitable[Any]], lsn: int = 0, **arguments: Any) -> Any:
    async def main() -> Any:
        source = Source(lsn)
        positions = Freshness(source, **arguments)
        try:
            return await test(positions, source)
        finally:
            await positions.stop()

    return asyncio.run(main())


def test_who_prefers_not_to_wait_does_not_wait_for_a_store_that_hangs() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        source.seconds = 30
        async with asyncio.timeout(5):
            with pytest.raises(NotCoveredError):
                await positions.at_least("m", Lsn(5), 0.05)

    run(test)


def test_coverage_is_the_least_of_the_shards() -> None:
    positions = covered([row(lsn=30), row(shard=1, lsn=20, committed_at=7), row(model="n", lsn=5)], epoch=1)
    assert positions == {"m": Position(lsn=Lsn(20), committed_at=7), "n": Position(lsn=Lsn(5), committed_at=5)}


def test_a_shard_of_an_older_history_covers_nothing() -> None:
    assert covered([row(lsn=30), row(shard=1, lsn=2, epoch=2)], epoch=1) == {"m": NOTHING}
    assert covered([row(lsn=30)], epoch=2) == {"m": NOTHING}
    assert covered([row(lsn=30, epoch=3)], epoch=2)["m"].lsn == 30


def test_lag_is_never_negative_and_unknown_before_the_first_position() -> None:
    assert Position(lsn=Lsn(1), committed_at=1_500_000).lag_seconds(now=2_000_000) == 0.5
    assert Position(lsn=Lsn(1), committed_at=2_500_000).lag_seconds(now=2_000_000) == 0
    assert NOTHING.lag_seconds() is None


def test_without_a_token_nobody_waits() -> None:
    async def test(positions: Freshness, _source: Source) -> None:
        assert (await positions.at_least("m", None, 0)).lsn == 7
        assert await positions.at_least("unknown", None, 0) == NOTHING

    run(test, lsn=7)


def test_many_readers_share_one_read() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        await asyncio.gather(*(positions.at_least("m", token, 1) for token in (None, Lsn(3), None, Lsn(7))))
        assert source.reads == 1

    run(test, lsn=7)


def test_a_waiter_is_answered_when_the_position_moves() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        loop = asyncio.get_running_loop()
        waiters = [asyncio.create_task(positions.at_least("m", Lsn(token), 5)) for token in (8, 9, 9, 12)]
        await asyncio.sleep(0.02)
        assert positions.waiting == 4
        source.lsn, moved = 9, loop.time()
        for waiter in waiters[:3]:
            assert (await waiter).lsn == 9
        assert loop.time() - moved < 0.1
        assert positions.waiting == 1
        source.lsn = 12
        assert (await waiters[3]).lsn == 12
        reads = source.reads
        await asyncio.sleep(0.05)
        assert source.reads <= reads + 1  # the poller rests when nobody waits
        assert positions.waiting == 0

    run(test, lsn=7)


def test_the_poller_is_shared() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        waiters = [asyncio.create_task(positions.at_least("m", Lsn(9), 5)) for _ in range(200)]
        await asyncio.sleep(0.05)
        source.lsn = 9
        await asyncio.gather(*waiters)
        assert source.reads <= 60

    run(test, lsn=7)


def test_the_bound_ends_a_wait_with_the_lag() -> None:
    told: list[tuple[str, bool]] = []

    async def test(positions: Freshness, _source: Source) -> None:
        with pytest.raises(NotCoveredError) as caught:
            await positions.at_least("m", Lsn(9), 0.02)
        assert caught.value.headers == {"Retry-After": "1"}
        assert caught.value.members["covered_lsn"] == "0/7"
        assert caught.value.members["lag_seconds"] > 0
        assert positions.waiting == 0

    run(test, lsn=7, waited=lambda model, _seconds, done: told.append((model, done)))
    assert told == [("m", False)]


def test_a_store_that_fails_while_waiting_is_the_problem_and_heals() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        await positions.positions()
        waiter = asyncio.create_task(positions.at_least("m", Lsn(9), 30))
        failing = asyncio.create_task(positions.at_least("m", Lsn(9), 1))
        await asyncio.sleep(0.02)
        source.failure = StoreUnavailableError("away", hint="wait")
        with pytest.raises(StoreUnavailableError):
            await failing
        source.failure, source.lsn = None, 9
        assert (await waiter).lsn == 9

    run(test, lsn=7)


def test_a_waiter_that_goes_away_leaves_the_others() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        gone = asyncio.create_task(positions.at_least("m", Lsn(9), 5))
        stays = asyncio.create_task(positions.at_least("m", Lsn(9), 5))
        await asyncio.sleep(0.01)
        gone.cancel()
        source.lsn = 9
        assert (await stays).lsn == 9
        assert gone.cancelled()

    run(test, lsn=7)


def test_what_is_known_is_not_older_than_promised() -> None:
    async def test(positions: Freshness, source: Source) -> None:
        await positions.positions()
        source.lsn = 9
        await asyncio.sleep(freshness.MAX_AGE_SECONDS + 0.005)
        assert (await positions.at_least("m", None, 0)).lsn == 9

    run(test, lsn=7)
