"""What a reply covers, and how a token waits for it; positions are written by hand."""

from __future__ import annotations

import asyncio
import re
import threading
import time

import pytest

from command_api.lsn import Lsn
from tests.integration.read_api.stand import ONE, Place, refusal, serving


def test_reply_says_what_it_covers(place: Place) -> None:
    place.insert(ONE, [("a", 1)])

    async def check() -> None:
        async with serving(place.settings) as get:
            before = await get("/read/one/a")
            assert (before.json()["covered_lsn"], before.json()["lag_seconds"]) == ("0/0", None)
            assert before.headers["covered-lsn"] == "0/0"
            assert "lag-seconds" not in before.headers
            place.cover(ONE, 0x16_B374D848, age=5)
            place.cover(ONE, 0x16_00000010, shard=1, age=60)
            await asyncio.sleep(0.02)
            after = await get("/read/one/a")
            assert after.json()["covered_lsn"] == after.headers["covered-lsn"] == "16/10"
            assert 60 <= after.json()["lag_seconds"] < 90
            assert float(after.headers["lag-seconds"]) == pytest.approx(after.json()["lag_seconds"], abs=1e-5)
            metrics = (await get("/metrics")).text
            assert 'read_api_request_seconds_count{model="one",status="200"} 2.0' in metrics

    asyncio.run(check())


def test_a_token_waits_for_its_position_and_not_longer(place: Place) -> None:
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 100)

    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with serving(place.settings) as get:
            token = {"Consistency-Token": str(Lsn(100))}
            assert (await get("/read/one/a", headers=token)).json()["covered_lsn"] == str(Lsn(100))
            delays = []
            for lsn in range(200, 220):
                began = loop.time()
                token = {"Consistency-Token": str(Lsn(lsn))}
                waiting = [asyncio.create_task(get("/read/one/a", headers=token)) for _ in range(5)]
                await asyncio.sleep(0.02)
                assert not any(task.done() for task in waiting)
                await asyncio.to_thread(place.insert, ONE, [("a", lsn)], lsn)
                await asyncio.to_thread(place.cover, ONE, lsn)
                moved = loop.time()
                for reply in await asyncio.gather(*waiting):
                    assert reply.status_code == 200, reply.text
                    assert reply.json()["rows"] == [{"t": "a", "b": lsn}]
                    assert Lsn.parse(reply.json()["covered_lsn"]) >= lsn
                delays.append(loop.time() - moved)
                assert loop.time() - began < 1.5
            assert sorted(delays)[len(delays) // 2] < 0.05, delays
            waited = re.search(
                r'^read_api_token_wait_seconds_count\{model="one"\} (\S+)$', (await get("/metrics")).text, re.M
            )
            assert waited is not None
            assert 0 < float(waited[1]) <= 100, (
                "those that came before their position, which on a busy machine not all do"
            )

    asyncio.run(check())


def test_a_token_beyond_the_bound_is_refused_with_the_lag(place: Place) -> None:
    place.cover(ONE, 100, age=3)

    async def check() -> None:
        async with serving(place.settings) as get:
            for parameters, headers, least, most in (
                ({"token": "FFFFFFFF/FFFFFFFF"}, {}, 1.5, 3.0),
                ({}, {"Consistency-Token": "0/65", "Prefer": "wait=0.1"}, 0.1, 1.0),
                ({"token": "0/65"}, {"Prefer": "wait=0"}, 0.0, 0.5),
                ({"token": "0/65"}, {"Prefer": "wait=1000"}, 1.5, 3.0),
            ):
                began = time.perf_counter()
                response = await get("/read/one/a", params=parameters, headers=headers)
                problem = refusal(response, 503)
                assert least <= time.perf_counter() - began < most
                assert problem["type"].endswith("token-not-covered")
                assert problem["covered_lsn"] == str(Lsn(100))
                assert problem["lag_seconds"] >= 3
                assert int(response.headers["retry-after"]) >= 1
            assert 'read_api_token_timeouts_total{model="one"} 4.0' in (await get("/metrics")).text

    asyncio.run(check())


def test_rows_are_never_older_than_the_position_they_are_shown_under(place: Place) -> None:
    """A writer moves row and position on, without pause; reading rows before the position fails here at once."""
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 1)
    stop = threading.Event()

    def write() -> None:
        lsn = 1
        while not stop.is_set():
            lsn += 1
            place.insert(ONE, [("a", lsn)], lsn)
            place.cover(ONE, lsn)

    async def check() -> None:
        seen = set()
        async with serving(place.settings) as get:

            async def reads() -> None:
                token = "0/0"
                for _ in range(150):
                    response = await get("/read/one/a", headers={"Consistency-Token": token})
                    assert response.status_code == 200, response.text
                    body = response.json()
                    assert body["rows"][0]["b"] >= Lsn.parse(body["covered_lsn"]) >= Lsn.parse(token)
                    token = body["covered_lsn"]
                    seen.add(token)

            await asyncio.gather(*(reads() for _ in range(8)))
        assert len(seen) > 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        asyncio.run(check())
    finally:
        stop.set()
        writer.join()


def test_a_read_model_waits_only_for_its_own_tables(place: Place) -> None:
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 100)

    async def check() -> None:
        async with serving(place.settings) as get:
            other = {"Consistency-Token": "0/64;orders@0/FFFF"}
            began = time.perf_counter()
            reply = await get("/read/one/a", headers=other)
            assert reply.status_code == 200, reply.text
            assert time.perf_counter() - began < 1.0
            # Whoever keeps the newest token only keeps what the one before asked for.
            assert reply.headers["consistency-token"] == "0/64;orders@0/FFFF"
            assert (await get("/read/one/a")).headers["consistency-token"] == "0/0;all_values@0/64"
            for headers in (
                [("Consistency-Token", "0/65"), ("Consistency-Token", "0/1")],
                [("Consistency-Token", "0/1, 0/2;all_values@0/65")],
            ):
                problem = refusal(await get("/read/one/a", headers=[*headers, ("Prefer", "wait=0")]), 503)
                assert problem["token"] == "0/65"

    asyncio.run(check())
