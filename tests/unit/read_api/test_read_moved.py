"""What a process forgets when it follows a pointer: a position that was known is another generation's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from command_api.lsn import Lsn
from command_api.process.settings import ReadApi, Settings
from projections.generations import COLUMNS, REGISTRY, table_name
from projections.orders import ORDER_BY_ID
from read_api.execution import Rows
from read_api.service import ReadService

NAME = ORDER_BY_ID.name


class Tables:
    """The registry and the positions of two generations, as a store gives them."""

    def __init__(self) -> None:
        self.live = 1
        self.covered = {table_name(NAME, 1): 99, table_name(NAME, 2): 99}

    async def read(self, cql: str, _values: Sequence[Any], **_options: Any) -> Rows:
        await asyncio.sleep(0)
        if REGISTRY not in cql:
            return Rows(rows=[(table, 0, lsn, 1, 0, 0) for table, lsn in self.covered.items()], state=None)
        found: list[dict[str, Any]] = [{"generation": 0, "live": self.live}]
        found += [{"generation": n, "table_name": table_name(NAME, n), "state": "verified"} for n in (1, 2)]
        return Rows(rows=[tuple((of | {"read_model": NAME}).get(c) for c in COLUMNS) for of in found], state=None)


def test_a_position_is_not_taken_for_that_of_the_generation_that_is_read_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        service = ReadService(Settings(read_api=ReadApi(fallback_connections=0)), (ORDER_BY_ID,))
        tables = Tables()
        monkeypatch.setattr(service.store, "read", tables.read)
        assert (await service.freshness.at_least(NAME, Lsn(99), 1.0)).lsn == Lsn(99)
        tables.live, tables.covered[table_name(NAME, 2)] = 2, 10
        await service.live.look()  # within the milliseconds for which what is known is not asked for again
        assert service.freshness.shown(NAME) < Lsn(99)
        assert (await service.freshness.at_least(NAME, None, 1.0)).lsn == Lsn(10)
        await service.stop()

    asyncio.run(scenario())
