"""What the registry's rows say, and which generation a declaration belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from projections.generations import COLUMNS, READY, State, registered, table_name, unregistered


def row(read_model: str, generation: int, **values: Any) -> tuple[Any, ...]:
    named = {"read_model": read_model, "generation": generation} | values
    return tuple(named.get(column) for column in COLUMNS)


def of(live: int, *states: State, fingerprints: str = "abcdef") -> list[tuple[Any, ...]]:
    """Generations 1… in these states, each of a declaration of its own."""
    rows = [row("orders", 0, live=live, changed_at=7)]
    for number, (state, fingerprint) in enumerate(zip(states, fingerprints, strict=False), 1):
        rows.append(
            row("orders", number, table_name=table_name("orders", number), state=str(state), fingerprint=fingerprint)
        )
    return rows


def test_the_first_generation_is_the_table_that_was_always_there() -> None:
    assert table_name("orders", 1) == "orders"
    assert table_name("orders", 2) == "orders__g2"
    assert unregistered("orders").current.table == "orders"


def test_rows_become_generations_and_their_pointer() -> None:
    found = registered(of(2, State.FIRST, State.VERIFIED, State.FAILED))["orders"]
    assert (found.live, found.switched_at, found.current.table) == (2, 7, "orders__g2")
    assert [g.state for g in found.generations.values()] == [State.FIRST, State.VERIFIED, State.FAILED]
    assert found.current.reason == ""  # nulls are empty


@pytest.mark.parametrize(
    "rows",
    [
        [row("orders", 1, table_name="orders", state="first")],  # registered by half: no pointer yet
        [row("orders", 0, live=1)],
        [row("orders", 0, live=3), row("orders", 1, table_name="orders", state="first")],
    ],
)
def test_a_read_model_without_its_pointer_or_the_generation_it_names_is_not_registered(rows: list[Any]) -> None:
    assert registered(rows) == {}


def test_a_row_that_a_builder_left_behind_after_a_drop_is_no_generation() -> None:
    found = registered([*of(1, State.FIRST), row("orders", 2, progress="{}")])
    assert list(found["orders"].generations) == [1]


@pytest.mark.parametrize(
    ("live", "states", "declared", "writes"),
    [
        (1, (State.FIRST, State.VERIFIED), "a", 1),
        (2, (State.FIRST, State.VERIFIED), "b", 2),
        (2, (State.FIRST, State.VERIFIED), "a", 1),  # the declaration before the switch keeps the way back open
        (1, (State.FIRST, State.BUILDING), "b", None),  # that is a build's to write
        (1, (State.FIRST, State.FAILED), "b", None),
        (2, (State.DROPPED, State.VERIFIED), "a", None),
        (1, (State.FIRST, State.VERIFIED, State.VERIFIED), "c", 3),
        (1, (State.FIRST,), "x", None),
    ],
)
def test_a_worker_writes_what_its_declaration_belongs_to(
    live: int, states: tuple[State, ...], declared: str, writes: int | None
) -> None:
    chosen = registered(of(live, *states))["orders"].written_by(declared)
    assert (chosen.number if chosen else None) == writes


def test_of_two_generations_of_one_declaration_the_live_one_is_written() -> None:
    rows = of(1, State.FIRST, State.VERIFIED, fingerprints="aa")
    assert registered(rows)["orders"].written_by("a") == registered(rows)["orders"].generations[1]


def test_only_what_is_compared_or_was_there_first_may_be_live() -> None:
    assert {State.FIRST, State.VERIFIED} == READY
