"""Entity tags: the same for the same rows on every process, another for any other, and 304 for whoever holds them."""

from __future__ import annotations

import asyncio

from tests.integration.read_api.stand import BY_NUMBER, ONE, Place, serving


def test_who_holds_the_rows_gets_their_freshness_alone(place: Place) -> None:
    place.insert(ONE, [("a", 1)])
    place.cover(ONE, 100)

    async def check() -> None:
        async with serving(place.settings) as get, serving(place.settings) as other:
            first = await get("/read/one/a")
            tag = first.headers["etag"]
            assert first.headers["cache-control"] == "no-cache"
            assert "Consistency-Token" in first.headers["vary"]
            place.cover(ONE, 200)  # the position goes on, the rows stay
            for held in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
                again = await other("/read/one/a", headers={"If-None-Match": held, "Consistency-Token": "0/C8"})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == tag
                assert again.headers["covered-lsn"] == "0/C8"
                assert again.headers["stale"] == "false"
            assert (await get("/read/one/a", headers={"If-None-Match": '"x", W/"y"'})).status_code == 200
            place.insert(ONE, [("a", 2)], 300)
            changed = await get("/read/one/a", headers={"If-None-Match": tag})
            assert (changed.status_code, changed.json()["rows"]) == (200, [{"t": "a", "b": 2}])
            assert changed.headers["etag"] != tag

    asyncio.run(check())


def test_the_same_rows_with_more_behind_them_are_another_reply(place: Place) -> None:
    place.insert(BY_NUMBER, [(1, number, "x") for number in range(3)])

    async def check() -> None:
        async with serving(place.settings) as get:
            whole = await get("/read/by_number/1", params={"limit": "4"})
            place.insert(BY_NUMBER, [(1, number, "x") for number in range(-9, 0)])
            part = await get(
                "/read/by_number/1", params={"limit": "3"}, headers={"If-None-Match": whole.headers["etag"]}
            )
            assert part.status_code == 200
            assert part.json()["rows"] == whole.json()["rows"]
            assert part.json()["next_page"]
            assert not whole.json()["next_page"]

    asyncio.run(check())
