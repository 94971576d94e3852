"""Which generation is read: the pointer is followed when nothing that was shown is taken back by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import literal

from command_api.lsn import Lsn
from projections.generations import COLUMNS, Generation, table_name
from projections.orders import ORDER_BY_ID
from projections.shape import shape_of
from read_api.live import PATIENCE_S, Live, fits
from read_api.problem import ProblemError, StoreNotSetUpError, StoreUnavailableError

NAME = ORDER_BY_ID.name
MORE = replace(ORDER_BY_ID, select=ORDER_BY_ID.select.add_columns(literal(1).label("one")))
OTHER = replace(ORDER_BY_ID, select=ORDER_BY_ID.select.where(literal(1) == 2))


def rows(live: int, *shapes: str) -> list[tuple[Any, ...]]:
    found = [{"read_model": NAME, "generation": 0, "live": live}]
    found += [
        {
            "read_model": NAME,
            "generation": number,
            "table_name": table_name(NAME, number),
            "state": "verified",
            "shape": shape,
            "fingerprint": "another" if shape else "",
        }
        for number, shape in enumerate(shapes, 1)
    ]
    return [tuple(of.get(column) for column in COLUMNS) for of in found]


class Place:
    """A registry, positions and a process that has shown `lsn`. moves: how often pointers were followed."""

    def __init__(self, found: Sequence[tuple[Any, ...]], lsn: int = 10) -> None:
        self.found = found
        self.error: ProblemError | None = None
        self.covered = {NAME: Lsn(lsn), f"{NAME}__g2": Lsn(lsn)}
        self.looks = 0
        self.moves = 0
        self.live = Live((ORDER_BY_ID,), self._fetch, self._covered, lambda _name: Lsn(lsn), self._moved)

    async def _fetch(self) -> Sequence[tuple[Any, ...]]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.found

    async def _covered(self) -> Mapping[str, Lsn]:
        return self.covered

    def _moved(self) -> None:
        self.moves += 1


SHAPE = shape_of(ORDER_BY_ID).to_json()


def test_the_first_read_waits_for_the_pointer_and_takes_it_as_it_is() -> None:
    async def scenario() -> None:
        place = Place(rows(2, SHAPE, SHAPE))
        place.covered[f"{NAME}__g2"] = Lsn(0)
        await asyncio.gather(place.live.known(), place.live.known())
        assert (place.live.table(NAME), place.looks) == (f"{NAME}__g2", 1)
        await place.live.known()
        assert place.looks == 1

    asyncio.run(scenario())


def test_a_pointer_that_moved_is_followed_once_what_was_shown_is_covered() -> None:
    async def scenario() -> None:
        place = Place(rows(1, SHAPE, SHAPE))
        await place.live.look()
        assert (place.live.table(NAME), place.moves) == (NAME, 0)
        place.found = rows(2, SHAPE, SHAPE)
        place.covered[f"{NAME}__g2"] = Lsn(9)
        looking = asyncio.create_task(place.live.look())
        await asyncio.sleep(PATIENCE_S / 4)  # long enough for several looks
        assert place.live.table(NAME) == NAME
        place.covered[f"{NAME}__g2"] = Lsn(10)
        await looking
        assert (place.live.table(NAME), place.moves, place.live.version) == (f"{NAME}__g2", 1, 1)

    asyncio.run(scenario())


def test_a_pointer_is_followed_within_a_second_in_any_case() -> None:
    async def scenario() -> None:
        place = Place(rows(1, SHAPE, SHAPE))
        await place.live.look()
        place.found, place.covered[f"{NAME}__g2"] = rows(2, SHAPE, SHAPE), Lsn(9)
        async with asyncio.timeout(1):
            await place.live.look()
        assert place.live.table(NAME) == f"{NAME}__g2"

    asyncio.run(scenario())


def test_a_store_that_is_away_leaves_what_is_known_and_one_without_a_registry_has_first_generations() -> None:
    async def scenario() -> None:
        place = Place(rows(2, SHAPE, SHAPE))
        await place.live.look()
        place.error = StoreUnavailableError("away", hint="wait")
        with pytest.raises(StoreUnavailableError):
            await place.live.look()
        assert place.live.table(NAME) == f"{NAME}__g2"
        fresh = Place(())
        fresh.error = StoreNotSetUpError("no table", hint="set up")
        await fresh.live.known()
        assert (fresh.live.table(NAME), fresh.live.fits(NAME)) == (NAME, True)
        assert fresh.live.table("unheard_of") == "unheard_of"

    asyncio.run(scenario())


def test_another_declarations_generation_is_followed_and_does_not_fit() -> None:
    async def scenario() -> None:
        place = Place(rows(2, SHAPE, shape_of(OTHER).to_json()))
        await place.live.look()
        assert place.live.table(NAME) == f"{NAME}__g2"
        assert not place.live.fits(NAME)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("declared", "held", "does"),
    [
        (ORDER_BY_ID, ORDER_BY_ID, True),
        (ORDER_BY_ID, MORE, True),  # a column was added: the others are what they were
        (MORE, ORDER_BY_ID, False),
        (ORDER_BY_ID, OTHER, False),
    ],
)
def test_what_fits(declared: Any, held: Any, does: bool) -> None:
    shape = shape_of(held)
    generation = Generation(read_model=NAME, number=2, table="t", shape=shape.to_json(), fingerprint=shape.fingerprint)
    assert fits(shape_of(declared), generation) == does
    assert fits(shape_of(declared), replace(generation, shape="", fingerprint=""))  # nobody has said what it holds
    assert not fits(shape_of(declared), replace(generation, shape="{}", fingerprint="of a later release"))
