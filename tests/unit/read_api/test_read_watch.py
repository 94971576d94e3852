"""Watches and what is sent of them: no state is passed over or taken back, none outlives a token, and there are not too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from command_api.lsn import Lsn
from read_api import streams
from read_api.freshness import Freshness, Position
from read_api.metrics import Metrics
from read_api.problem import ReadTimeoutError
from read_api.request import Query
from read_api.streams import Streams, next_event
from read_api.watch import Subject, Watch, Watches
from read_api.watched import Key, State

KEY = ("k",)


def state(value: int, seen: int | None = None) -> State:
    rows: dict[Key, bytes] = {("1",): b'{"k":1,"v":%d}' % value}
    return State(rows=rows, covered=Lsn(value), seen=Lsn(seen) if seen is not None else None)


async def no_marks(_state: State) -> dict[str, set[int]]:
    return {}


def subject(read: Callable[[Lsn | None], Awaitable[State]], key: str = "a") -> Subject:
    return Subject(query=Query(model="m", partition=(key,)), limit=1, key=KEY, read=read, marks=no_marks)


async def first(_seen: Lsn | None) -> State:
    return state(1)


def run(test: Callable[[Watches], Awaitable[None]], **arguments: Any) -> None:
    async def positions() -> Mapping[str, Position]:
        return {"m": Position(lsn=Lsn(100), committed_at=1)}

    async def main() -> None:
        freshness = Freshness(positions)
        watches = Watches(freshness, **arguments)
        try:
            await asyncio.wait_for(test(watches), 20)
        finally:
            await watches.stop()
            await freshness.stop()

    asyncio.run(main())


class MovesLate(Watch):
    """Shows another state just after whoever waits was told that there is none."""

    async def moved(self, digest: str, seconds: float) -> bool:
        found = await super().moved(digest, seconds)
        self.show(state(2))
        return found


def test_what_comes_with_a_keep_alive_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.01)

    async def main() -> None:
        watch = MovesLate(subject(first), state(1))
        body = await next_event(watch, watch.history.newest.digest, [], lambda: True)
        assert body is not None
        assert b"event: change" in body

    asyncio.run(main())


def test_a_partition_that_always_changes_does_not_keep_a_stream_open_beyond_its_token() -> None:
    async def main() -> None:
        watch = Watch(subject(first), state(1))
        held = watch.history.newest.digest
        watch.show(state(2))
        assert await next_event(watch, held, [], lambda: False) is None
        assert await next_event(watch, held, [], lambda: True)

    asyncio.run(main())


def test_a_stop_while_the_first_stream_is_being_opened_ends_it() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def listens() -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        service: Any = SimpleNamespace(readers={}, metrics=Metrics())
        access: Any = SimpleNamespace(admit=lambda *_: None)
        opening = Streams(service, access, 1, 1.0)
        opening.close()
        scope = {"type": "http", "method": "GET", "headers": [], "query_string": b""}
        await asyncio.wait_for(opening._stream(scope, listens, send, Watch(subject(first), state(1))), 10)

    asyncio.run(main())
    assert sent[-1] == {"type": "http.response.body", "body": b""}


def test_of_two_reads_at_once_the_later_one_is_shown_last() -> None:
    began: list[int] = []
    second, going = asyncio.Event(), asyncio.Event()

    async def read(_seen: Lsn | None) -> State:
        began.append(len(began) + 1)
        number = began[-1]
        if number == 2:
            second.set()
            await going.wait()  # the read that began earlier takes longer
        return state(number)

    async def test(watches: Watches) -> None:
        watch = await watches.watch(subject(read))
        looking = [asyncio.create_task(watches.look(watch)) for _ in range(2)]
        await second.wait()
        for _ in range(20):
            await asyncio.sleep(0)  # time for the other to overtake
        going.set()
        await asyncio.gather(*looking)
        async with watch.reading:  # after the watch's own
            assert watch.history.newest.covered == began[-1]

    run(test)


def test_what_was_written_before_its_partition_was_watched_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("read_api.watch.SWEEP_SECONDS", 1_000)
    stored = [1]

    async def read(_seen: Lsn | None) -> State:
        return state(stored[-1])

    async def marks(shown: State) -> dict[str, set[int]]:
        if shown.covered == 2 and stored[-1] == 2:
            stored.append(3)  # in the partition that 2 leads to, which nobody is told of yet
        return {"other": {shown.covered}}

    async def test(watches: Watches) -> None:
        watch = await watches.watch(replace(subject(read), marks=marks))
        stored.append(2)
        watch.poke(Lsn(0))
        while watch.history.newest.covered != 3:
            await watch.moved(watch.history.newest.digest, 1)

    run(test)


def test_what_postgres_has_shown_is_asked_of_the_next_read() -> None:
    asked: list[Lsn | None] = []

    async def read(seen: Lsn | None) -> State:
        asked.append(seen)
        return state(len(asked), seen=70)

    async def test(watches: Watches) -> None:
        watch = await watches.watch(subject(read))
        await watches.look(watch)
        assert asked[0] is None
        assert set(asked[1:]) == {Lsn(70)}

    run(test)


def test_beyond_the_bound_the_watch_that_is_alone_for_longest_ends() -> None:
    async def test(watches: Watches) -> None:
        one, two, three = [await watches.watch(subject(first, key)) for key in "abc"]
        for watch in (two, three, one):
            watch.leave()
        assert await watches.watch(subject(first, "a")) is one
        await watches.watch(subject(first, "d"))
        assert two.keeping is not None
        await asyncio.wait([two.keeping], timeout=10)
        assert [watch.keeping.cancelled() for watch in (one, two, three) if watch.keeping] == [False, True, False]
        assert await watches.watch(subject(first, "b")) is not two

    run(test, most=3)


def test_a_read_that_hangs_ends() -> None:
    async def hangs(_seen: Lsn | None) -> State:
        await asyncio.Event().wait()
        raise AssertionError

    async def test(watches: Watches) -> None:
        with pytest.raises(ReadTimeoutError):
            await watches.watch(subject(hangs))

    run(test, read_s=0.02)
