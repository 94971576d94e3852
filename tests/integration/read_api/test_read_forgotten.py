"""A statement that Cassandra has forgotten is prepared again by the driver, behind the read that finds out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from projections.cassandra_table import cassandra_table
from read_api import execution
from tests.integration.read_api.stand import ONE, Place, serving


def test_a_read_after_a_change_of_the_table_has_its_rows(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.insert(ONE, [["a", 1]])
    place.cover(ONE, 1)
    given_over: Callable[[Any], Any] = execution._Request._given_over
    troubles: list[object] = []

    def told(request: Any) -> Any:
        troubles.append(request)
        return given_over(request)

    monkeypatch.setattr(execution._Request, "_given_over", told)

    async def run() -> None:
        async with serving(place.settings) as get:
            before = await get("/read/one/a")
            assert troubles == []
            # Cassandra forgets the statements of a table that has another shape.
            table = cassandra_table(ONE, place.settings.cassandra.keyspace).qualified
            await asyncio.to_thread(place.session.execute, f"ALTER TABLE {table} ADD other int")
            replies = await asyncio.gather(*(get("/read/one/a") for _ in range(20)))
            assert troubles
            assert [reply.json()["rows"] for reply in (before, *replies)] == [[{"t": "a", "b": 1}]] * 21

    asyncio.run(run())
