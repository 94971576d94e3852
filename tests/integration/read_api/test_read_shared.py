"""Reads of one partition that are asked for at once share a request to Cassandra, and none is older than its asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from projections.cassandra_table import cassandra_table
from read_api.cql import Shape, select_statement
from read_api.driver_loop import LoopConnection
from read_api.store import Store
from tests.integration.read_api.stand import BY_NUMBER, ONE, Place, serving

READERS = 12
WRITES = 300


def test_who_asks_at_once_shares_a_request(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.insert(BY_NUMBER, [(key, number, "x") for key in (1, 2) for number in range(5)])
    frames = list[bytes]()
    send: Callable[..., None] = LoopConnection.send_frame

    def kept(connection: LoopConnection, frame: bytes, *rest: Any) -> None:
        frames.append(frame)
        send(connection, frame, *rest)

    monkeypatch.setattr(LoopConnection, "send_frame", kept)

    async def check() -> None:
        store = Store(place.settings.cassandra)
        await store.start()
        try:
            await asyncio.wait_for(store.connected(), 20)
            cql = select_statement(cassandra_table(BY_NUMBER, place.settings.cassandra.keyspace), Shape())
            await store.read(cql, (1,))
            frames.clear()
            asked = [((1,), 3)] * 20 + [((1,), 4), ((2,), 3)]
            found = await asyncio.gather(*(store.read(cql, key, fetch_size=size) for key, size in asked))
            assert len(frames) == len(set(asked))
            assert [[row[1] for row in page.rows] for page in found] == [[4, 3, 2]] * 20 + [[4, 3, 2, 1], [4, 3, 2]]
            (state,) = {page.state for page in found[:20]}
            following = await asyncio.gather(*(store.read(cql, (1,), fetch_size=3, state=state) for _ in range(20)))
            assert len(frames) == len(set(asked)) + 1
            assert all([row[1] for row in page.rows] == [1, 0] for page in following)
        finally:
            await store.stop()

    asyncio.run(check())


def test_who_reads_at_once_gets_a_reply_of_his_own(place: Place) -> None:
    place.insert(BY_NUMBER, [(1, number, "x") for number in range(5)])
    place.cover(BY_NUMBER, 100)

    async def check() -> None:
        async with serving(place.settings) as get:
            alone = await get("/read/by_number/1?limit=3")
            token = {"Consistency-Token": "0/64"}
            asked = [({}, 200), (token, 200), ({"If-None-Match": alone.headers["etag"]}, 304)] * 8
            replies = await asyncio.gather(*(get("/read/by_number/1?limit=3", headers=headers) for headers, _ in asked))
            assert [reply.status_code for reply in replies] == [status for _, status in asked]
            pages = set()
            for reply in replies:
                assert reply.headers["etag"] == alone.headers["etag"]
                if reply.status_code == 200:
                    assert reply.json()["rows"] == alone.json()["rows"]
                    pages.add(reply.json()["next_page"])
            following = await asyncio.gather(*(get(f"/read/by_number/1?limit=3&page={page}") for page in pages))
            assert all([row["i"] for row in reply.json()["rows"]] == [1, 0] for reply in following)

    asyncio.run(check())


def test_no_read_is_older_than_what_was_acknowledged_when_it_was_asked_for(place: Place) -> None:
    place.insert(ONE, [("hot", 0)])
    place.cover(ONE, 1)
    acknowledged, rng = 0, Random(1)

    def write() -> None:
        nonlocal acknowledged
        for number in range(1, WRITES + 1):
            place.insert(ONE, [("hot", number)], lsn=number)
            acknowledged = number

    async def check() -> None:
        async with serving(place.settings) as get:
            writing = asyncio.create_task(asyncio.to_thread(write))

            async def read() -> int:
                seen = 0
                while seen < WRITES:
                    await asyncio.sleep(rng.random() * 0.005)  # so that some ask while others' reads are under way
                    least = max(seen, acknowledged)
                    reply = await get("/read/one/hot")
                    ((seen,),) = ([row["b"] for row in reply.json()["rows"]],)
                    assert seen >= least
                return seen

            async with asyncio.timeout(120):
                await asyncio.gather(*(read() for _ in range(READERS)))
                await writing

    asyncio.run(check())
