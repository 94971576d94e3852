"""What the read API says of every read model's freshness, and of a token: covered, or by whom not; positions by hand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

from tests.integration.read_api.stand import BY_NUMBER, BY_TEXT, ONE, Place, refusal, serving

FRESH = replace(ONE, staleness=timedelta(seconds=5))
MODELS = (FRESH, BY_NUMBER)


def test_a_broken_staleness_is_said_in_the_reply_and_of_every_read_model(place: Place) -> None:
    async def check() -> None:
        async with serving(place.settings, MODELS) as get:
            assert (await get("/read/one/a")).json()["stale"] is True  # never filled
            place.cover(BY_NUMBER, 7, age=60)
            for age, stale in ((1, False), (9, True)):
                place.cover(FRESH, 100 + age, age=age)
                await asyncio.sleep(0.05)  # older than the positions that a read without a token may show
                assert (await get("/read/one/a")).json()["stale"] is stale
                assert (await get("/read/by_number/1")).json()["stale"] is False  # it declares nothing
                reply = await get("/freshness")
                found = reply.json()["read_models"]
                assert reply.headers["cache-control"] == "no-store"
                assert found["one"].pop("lag_seconds") >= age
                assert found["one"] == {
                    "declared_staleness_seconds": 5,
                    "covered_lsn": f"0/{100 + age:X}",
                    "stale": stale,
                    "dead_letters": 0,
                }
                assert found["by_number"]["declared_staleness_seconds"] is None
                assert found["by_number"]["stale"] is False

    asyncio.run(check())


def test_a_token_is_covered_when_every_read_model_of_its_tables_covers_it(place: Place) -> None:
    place.cover(ONE, 100)
    place.cover(BY_NUMBER, 90)

    async def check() -> None:
        async with serving(place.settings, (ONE, BY_NUMBER)) as get:
            for token, behind in (
                ("0/5A", []),
                ("0/64", ["by_number"]),
                ("0/0;all_values@0/65", ["one", "by_number"]),
                ("0/0;orders@0/FFFF", []),
            ):
                reply = await get("/covered", headers={"Consistency-Token": token, "Prefer": "wait=0"})
                assert reply.json() == {"covered": not behind, "behind": behind}, token
            began = time.perf_counter()
            waiting = asyncio.create_task(get("/covered", headers={"Consistency-Token": "0/C8", "Prefer": "wait=20"}))
            place.cover(ONE, 200)
            await asyncio.sleep(0.1)
            assert not waiting.done()
            place.cover(BY_NUMBER, 200)
            assert (await waiting).json() == {"covered": True, "behind": []}
            assert time.perf_counter() - began < 10
            refusal(await get("/covered"), 400)

    asyncio.run(check())


def test_a_read_model_that_was_never_filled_is_behind_at_once(place: Place) -> None:
    place.cover(ONE, 100)

    async def check() -> None:
        async with serving(place.settings, (ONE, BY_TEXT)) as get:
            async with asyncio.timeout(30):  # half of what it may be made to wait
                headers = {"Consistency-Token": "0/64", "Prefer": "wait=60"}
                reply = await get("/covered", headers=headers, timeout=90)
            assert reply.json() == {"covered": False, "behind": ["by_text"]}
            place.cover(BY_TEXT, 100)
            await asyncio.sleep(0.05)  # older than the positions that are known
            reply = await get("/covered", headers={"Consistency-Token": "0/64", "Prefer": "wait=20"})
            assert reply.json() == {"covered": True, "behind": []}

    asyncio.run(check())


def test_who_prefers_no_wait_waits_as_long_as_a_read(place: Place) -> None:
    place.cover(ONE, 100)
    soon = place.settings.read_api.model_copy(update={"wait_ms": 20})

    async def check() -> None:
        async with serving(place.settings.model_copy(update={"read_api": soon}), (ONE,)) as get:
            async with asyncio.timeout(30):  # half of what it may be made to wait
                reply = await get("/covered", headers={"Consistency-Token": "0/65"}, timeout=60)
            assert reply.json() == {"covered": False, "behind": ["one"]}

    asyncio.run(check())
