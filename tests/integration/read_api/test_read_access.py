"""Whose rows are read, on a store that holds them; and a read that takes longer than all of it may."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from command_api.process.settings import Http
from projections.orders import ORDERS_BY_USER
from tests.integration.read_api.stand import Place, refusal, serving
from tests.unit.access.tokens import AUTH, SOMEBODY_ELSE, SUBJECT, bearer, token


def test_the_owner_and_who_may_read_everybodys_get_the_rows(place: Place) -> None:
    own = [UUID(SUBJECT), 1_700_000_000_000_000, UUID(int=2), "placed", "eu", "Ann", 1, None]
    place.insert(ORDERS_BY_USER, [own])
    place.cover(ORDERS_BY_USER, 1)

    async def check() -> None:
        async with serving(place.settings.model_copy(update={"auth": AUTH})) as get:
            path = f"/read/orders_by_user/{SUBJECT}"
            for headers in (
                bearer(token("read:orders_by_user")),
                bearer(token("read:*")),
                bearer(token("read:orders_by_user:any", sub=SOMEBODY_ELSE)),
                bearer(token("read:*:any", sub="an operator")),
            ):
                reply = await get(path, headers=headers)
                assert [row["user_name"] for row in reply.json()["rows"]] == ["Ann"], reply.text
            for headers in (bearer(token("read:*", sub=SOMEBODY_ELSE)), bearer(token("read:*", sub="an operator"))):
                assert refusal(await get(path, headers=headers), 403)["hint"].endswith("read:orders_by_user:any")
            refusal(await get(path), 401)

    asyncio.run(check())


def test_a_read_as_a_whole_is_bounded(place: Place) -> None:
    place.cover(ORDERS_BY_USER, 1)
    settings = place.settings.model_copy(update={"http": Http(read_timeout_ms=200)})

    async def check() -> None:
        async with serving(settings) as get:
            path = f"/read/orders_by_user/{SUBJECT}"
            async with asyncio.timeout(30):
                while (
                    await get(path)
                ).status_code != 200:  # the first read prepares statements, which may be late itself
                    pass
            began = time.monotonic()
            late = await get(
                path, headers={"Consistency-Token": "FF/FF"}
            )  # waited for 1.5 s, were it not for the bound
            assert refusal(late, 503)["type"] == "urn:lockstep:problem:read-timeout"
            assert late.headers["retry-after"]
            assert 0.1 < time.monotonic() - began < 1.4

    asyncio.run(check())
