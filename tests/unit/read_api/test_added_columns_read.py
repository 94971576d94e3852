"""A column that was added covers nothing until it is filled, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from command_api.lsn import Lsn
from read_api.freshness import Freshness, Position, of_columns
from read_api.problem import NotCoveredError


def at(lsn: int) -> Position:
    return Position(lsn=Lsn(lsn), committed_at=lsn)


def test_a_row_is_as_covered_as_its_last_column() -> None:
    assert of_columns(at(50), ()) == at(50)
    assert of_columns(at(50), (at(30), at(60))) == at(30)
    assert of_columns(at(50), (at(60),)) == at(50)


def test_a_column_that_is_not_filled_leaves_nothing_covered() -> None:
    unfilled = of_columns(at(50), (at(30), at(0)))
    assert unfilled.unfilled
    assert unfilled.lsn == 0
    assert unfilled.lag_seconds() is None


def test_a_token_is_not_waited_for_while_a_column_is_filled() -> None:
    async def fetch() -> Mapping[str, Position]:
        return {"m": of_columns(at(50), (at(0),))}

    async def read() -> None:
        positions = Freshness(fetch)
        async with asyncio.timeout(5):
            with pytest.raises(NotCoveredError):
                await positions.at_least("m", Lsn(10), 60.0)
            assert (await positions.at_least("m", None, 60.0)).unfilled

    asyncio.run(read())
