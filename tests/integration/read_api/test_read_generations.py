"""Reads while the pointer moves: pages go on, dropped tables are not missed, another declaration's are refused."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import literal, select

from projections.cassandra_table import cassandra_table
from projections.generations import OPEN, State, create_registry
from projections.read_model import ReadModel, descending
from projector.generations.registry import Registry
from tests.integration.read_api.stand import VALUES, Get, Place, refusal, serving

FIRST = ReadModel(
    name="told_apart",
    select=select(VALUES.c.b, VALUES.c.i, VALUES.c.t),
    partition_key=("b",),
    clustering_key=(descending("i"),),
)
NAME = FIRST.name
PATH = f"/read/{NAME}/1"
SECOND = replace(FIRST, name=f"{NAME}__g2")
OTHER = replace(FIRST, select=FIRST.select.where(literal(1) == 1))
ROWS = 20
FOLLOW_S = 1.0


class Generations:
    """Two generations of one read model, told apart by their rows' text."""

    def __init__(self, place: Place, declared: ReadModel) -> None:
        self._session = place.session
        self._keyspace = place.settings.cassandra.keyspace
        place.session.execute(create_registry(self._keyspace))
        self._registry = Registry(place.session, keyspace=self._keyspace, projection="test")
        self._registry.register(FIRST)
        second = self._registry.begin(declared)
        assert second.table == SECOND.name
        assert self._registry.move(second, State.VERIFIED, of=OPEN)
        for model in (FIRST, SECOND):
            for statement in cassandra_table(model, self._keyspace).creation():
                place.session.execute(statement)
        for model, text in ((FIRST, "first"), (SECOND, "second")):
            place.insert(model, [[1, number, text] for number in range(ROWS)])
            place.cover(model, 10)

    def switch(self, number: int) -> None:
        """Move the pointer."""
        of_model = self._registry.read()[NAME]
        self._registry.switch(of_model, of_model.generations[number])

    def drop(self, model: ReadModel) -> None:
        """Take a table away."""
        for statement in cassandra_table(model, self._keyspace).drop():
            self._session.execute(statement, timeout=60)


@pytest.fixture
def generations(place: Place) -> Generations:
    return Generations(place, FIRST)


async def _rows(get: Get, path: str = PATH, **headers: str) -> list[dict[str, Any]]:
    reply = await get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["rows"]
    return found


async def _followed(get: Get, text: str) -> None:
    began = time.monotonic()
    while (await _rows(get))[0]["t"] != text:
        assert time.monotonic() - began < FOLLOW_S, "a pointer is followed within a second"
        await asyncio.sleep(0.01)  # the deadline is above


def test_a_page_of_one_generation_goes_on_in_the_other(place: Place, generations: Generations) -> None:
    async def scenario() -> None:
        async with serving(place.settings, (FIRST,)) as get:
            page = (await get(f"{PATH}?limit=5")).json()
            assert [(row["i"], row["t"]) for row in page["rows"]] == [(i, "first") for i in range(19, 14, -1)]
            generations.switch(2)
            await _followed(get, "second")
            page = (await get(f"{PATH}?limit=5&page={page['next_page']}")).json()
            assert [(row["i"], row["t"]) for row in page["rows"]] == [(i, "second") for i in range(14, 9, -1)]
            generations.switch(1)
            await _followed(get, "first")
            page = (await get(f"{PATH}?limit=50&page={page['next_page']}")).json()
            assert [(row["i"], row["t"]) for row in page["rows"]] == [(i, "first") for i in range(9, -1, -1)]
            assert page["next_page"] is None

    asyncio.run(scenario())


def test_the_first_read_of_a_process_is_of_the_live_generation(place: Place, generations: Generations) -> None:
    generations.switch(2)

    async def scenario() -> None:
        async with serving(place.settings, (FIRST,)) as get:
            assert {row["t"] for row in await _rows(get)} == {"second"}

    asyncio.run(scenario())


def test_a_token_is_waited_for_in_the_generation_that_is_read(place: Place, generations: Generations) -> None:
    async def scenario() -> None:
        async with serving(place.settings, (FIRST,)) as get:
            place.cover(FIRST, 99)
            assert {row["t"] for row in await _rows(get, **{"Consistency-Token": "0/63"})} == {"first"}
            generations.switch(2)
            await _followed(get, "second")
            refused = refusal(await get(PATH, headers={"Consistency-Token": "0/63", "Prefer": "wait=0.05"}), 503)
            assert (refused["covered_lsn"], refused["token"]) == ("0/A", "0/63")  # though the other one covers it
            place.cover(SECOND, 99)
            assert {row["t"] for row in await _rows(get, **{"Consistency-Token": "0/63"})} == {"second"}

    asyncio.run(scenario())


def test_a_table_that_is_gone_makes_a_reader_look_where_the_pointer_is(place: Place, generations: Generations) -> None:
    async def scenario() -> None:
        async with serving(place.settings, (FIRST,)) as get:
            await _rows(get)
            generations.switch(2)
            generations.drop(FIRST)
            assert {row["t"] for row in await _rows(get)} == {"second"}

    asyncio.run(scenario())


def test_another_declarations_rows_are_not_shown(place: Place) -> None:
    generations = Generations(place, OTHER)

    async def scenario() -> None:
        async with serving(place.settings, (FIRST,)) as get:
            await _rows(get)
            generations.switch(2)
            began = time.monotonic()
            while (reply := await get(PATH)).status_code == 200:
                assert reply.json()["rows"][0]["t"] == "first"
                assert time.monotonic() - began < FOLLOW_S
            assert refusal(reply, 503)["type"].endswith("other-declaration")
            generations.switch(1)
            began = time.monotonic()
            while (await get(PATH)).status_code != 200:
                assert time.monotonic() - began < FOLLOW_S

    asyncio.run(scenario())
