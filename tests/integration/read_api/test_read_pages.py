"""Ranges, orders and pages of a partition equal one read of it."""

from __future__ import annotations

import asyncio
from typing import Any

from command_api.lsn import Lsn
from projections.cassandra_table import POSITIONS
from tests.integration.read_api.stand import BY_NUMBER, Get, Place, refusal, serving


def test_ranges_orders_and_pages_equal_one_read(place: Place) -> None:
    # The table's order is i descending, then t ascending.
    rows = sorted(((7, i, f"t{j}") for i in range(100) for j in range(10)), key=lambda row: (-row[1], row[2]))
    place.insert(BY_NUMBER, rows)
    place.insert(BY_NUMBER, [(8, 1, "another partition")])
    whole = [{"b": b, "i": i, "t": t} for b, i, t in rows]

    async def walk(get: Get, limit: int, **parameters: Any) -> list[dict[str, Any]]:
        found, page, pages = [], None, 0
        while page is not None or not pages:
            turn = parameters | {"limit": limit} | ({"page": page} if page is not None else {})
            response = await get("/read/by_number/7", params=turn)
            assert response.status_code == 200, response.text
            assert len(response.json()["rows"]) <= limit
            found += response.json()["rows"]
            page, pages = response.json()["next_page"], pages + 1
        assert pages >= len(found) / limit
        return found

    async def check() -> None:
        async with serving(place.settings) as get:
            assert (await get("/read/by_number/7", params={"limit": 1000})).json()["rows"] == whole
            assert len((await get("/read/by_number/7")).json()["rows"]) == 100
            for limit in (1, 7, 100, 999, 1000):
                if limit > 1:
                    assert await walk(get, limit) == whole
                    assert await walk(get, limit, order="reversed") == whole[::-1]
                assert await walk(get, limit, i=5) == [row for row in whole if row["i"] == 5]
            assert await walk(get, 33, **{"i.gte": 10, "i.lt": 90}) == [row for row in whole if 10 <= row["i"] < 90]
            assert await walk(get, 33, **{"i.gt": 10, "order": "reversed"}) == [r for r in whole if r["i"] > 10][::-1]
            assert await walk(get, 3, **{"i": 4, "t.lte": "t5"}) == [r for r in whole if r["i"] == 4 and r["t"] <= "t5"]
            assert await walk(get, 3, i=4, t="t5") == [{"b": 7, "i": 4, "t": "t5"}]
            assert (await get("/read/by_number/9")).json()["rows"] == []

    asyncio.run(check())


def test_a_page_belongs_to_its_query(place: Place) -> None:
    place.insert(BY_NUMBER, [(7, i, "t") for i in range(10)])

    async def check() -> None:
        async with serving(place.settings) as get:
            page = (await get("/read/by_number/7", params={"limit": 3})).json()["next_page"]
            assert (await get("/read/by_number/7", params={"limit": 5, "page": page})).status_code == 200
            for path, parameters in (
                ("/read/by_number/8", {}),
                ("/read/by_number/7", {"order": "reversed"}),
                ("/read/by_number/7", {"i.gte": 1}),
                ("/read/one/7", {}),
            ):
                problem = refusal(await get(path, params=parameters | {"page": page}), 400)
                assert problem["field"] == "page"
            for garbled in ("", "x", page[:-4], page[4:], page + "AAAA", page.swapcase()):
                refusal(await get("/read/by_number/7", params={"page": garbled}), 400)

    asyncio.run(check())


def test_a_later_page_is_never_older(place: Place) -> None:
    place.insert(BY_NUMBER, [(7, i, "t") for i in range(10)])
    place.cover(BY_NUMBER, 500)

    async def check() -> None:
        async with serving(place.settings) as get:
            page = (await get("/read/by_number/7", params={"limit": 3})).json()["next_page"]
        # Another process that still knows an older position: here, a projection whose position went back.
        keyspace = place.settings.cassandra.keyspace
        place.session.execute(f"TRUNCATE {keyspace}.{POSITIONS}")
        place.cover(BY_NUMBER, 499)
        async with serving(place.settings) as get:
            refusal(await get("/read/by_number/7", params={"page": page}, headers={"Prefer": "wait=0.1"}), 503)
            waiting = asyncio.create_task(get("/read/by_number/7", params={"page": page}))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(place.cover, BY_NUMBER, 500)
            assert (await waiting).json()["covered_lsn"] == str(Lsn(500))

    asyncio.run(check())
