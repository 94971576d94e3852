"""Cassandra away and Postgres too: the refusal says what is known of the lag, which no reply can now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken
from command_api.process.settings import Settings
from projections.orders import ORDER_BY_ID
from read_api.declared import routes_of
from read_api.fallback import FallbackError
from read_api.freshness import Freshness, Position
from read_api.instants import now_micros
from read_api.paging import PageSeal
from read_api.problem import StoreUnavailableError
from read_api.rows import Reader
from read_api.source_query import SourceQuery


async def known() -> None:
    """The generations are."""


async def refuse(*_: Any, **__: Any) -> Any:
    raise FallbackError("no connection to Postgres a moment ago")


def test_the_lag_is_told_as_far_as_it_is_known(settings_without_servers: Settings) -> None:
    found = {"answers": True}

    async def positions() -> Mapping[str, Position]:
        if not found["answers"]:
            raise StoreUnavailableError("Cassandra is away", hint="repeat")
        return {ORDER_BY_ID.name: Position(lsn=Lsn(10), committed_at=now_micros() - 3_000_000)}

    async def main() -> None:
        route = routes_of(settings_without_servers, (ORDER_BY_ID,))[ORDER_BY_ID.name]
        freshness = Freshness(positions)
        live: Any = SimpleNamespace(known=known, fits=lambda _name: True, version=0, table=lambda name: name)
        fallback: Any = SimpleNamespace(read=refuse)
        store: Any = None
        reader = Reader(route, store, freshness, live, PageSeal(b"s"), fallback, SourceQuery(ORDER_BY_ID))
        await freshness.positions()
        freshness._known_at, found["answers"] = float("-inf"), False
        request = route.parse([b"01938d7e-5c3a-7b4e-9f00-3a5b1c2d4e6f"], b"")
        with pytest.raises(StoreUnavailableError) as caught:
            await reader.read(request.with_token(ConsistencyToken(everywhere=Lsn(20))), 0.0)
        assert 3 <= caught.value.members["lag_seconds"] < 60
        assert "Postgres" in caught.value.members["fallback"]
        await freshness.stop()

    asyncio.run(main())


@pytest.fixture
def settings_without_servers() -> Settings:
    return Settings()
