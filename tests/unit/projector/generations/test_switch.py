"""Which generation may be switched to, and when."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from projections.generations import Generation, Registered, State, table_name
from projector.cassandra.progress import Position
from projector.generations import switch as switching
from projector.generations.errors import NotReadyError
from projector.generations.switch import covers, switch, target


def of(live: int, *states: State) -> Registered:
    generations = {
        number: Generation(read_model="orders", number=number, table=table_name("orders", number), state=state)
        for number, state in enumerate(states, 1)
    }
    return Registered(read_model="orders", generations=generations, live=live)


def at(lsn: int, epoch: int = 1) -> Position:
    return Position(lsn=lsn, epoch=epoch, committed_at=0)


class Pointers:
    """A registry of one read model, and the positions that it is switched by."""

    def __init__(self, of_model: Registered, *positions: Mapping[str, Position]) -> None:
        self.of_model = of_model
        self.switched: list[int] = []
        self._positions = list(positions)

    def read(self, _names: object) -> dict[str, Registered]:
        return {"orders": self.of_model}

    def switch(self, of_model: Registered, to: Generation) -> None:
        assert of_model is self.of_model
        self.switched.append(to.number)

    def positions(self) -> Mapping[str, Position]:
        return self._positions.pop(0) if len(self._positions) > 1 else self._positions[0]


def test_the_newest_ready_one_that_is_not_live_is_the_target() -> None:
    assert target(of(1, State.FIRST, State.VERIFIED, State.VERIFIED), None).number == 3
    assert target(of(3, State.FIRST, State.DROPPED, State.VERIFIED), None).number == 1  # the way back


@pytest.mark.parametrize("state", [State.BUILDING, State.BUILT, State.FAILED, State.DROPPED])
def test_what_is_not_verified_is_refused_by_its_state(state: State) -> None:
    with pytest.raises(NotReadyError, match=f"is {state}"):
        target(of(1, State.FIRST, state), 2)
    with pytest.raises(NotReadyError, match="no verified generation"):
        target(of(1, State.FIRST, state), None)


def test_a_number_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotReadyError, match="it has 1, 2"):
        target(of(1, State.FIRST, State.VERIFIED), 9)


@pytest.mark.parametrize(
    ("new", "old", "does"),
    [
        (at(5), at(5), True),
        (at(1, epoch=2), at(9), True),
        (None, None, True),
        (at(1), None, True),
        (at(4), at(5), False),
        (None, at(1), False),
        (at(9), at(1, epoch=2), False),
    ],
)
def test_a_generation_covers_what_another_published_in_the_same_history_or_an_older_one(
    new: Position | None, old: Position | None, does: bool
) -> None:
    assert covers(new, old) == does


def test_the_pointer_moves_when_the_new_one_has_come_so_far() -> None:
    late = {"orders": at(10), "orders__g2": at(9)}
    pointers = Pointers(of(1, State.FIRST, State.VERIFIED), late, late, {"orders": at(11), "orders__g2": at(11)})
    assert switch(pointers, pointers.positions, "orders", wait_s=20).number == 2  # type: ignore[arg-type]
    assert pointers.switched == [2]


def test_a_generation_that_stays_behind_is_never_live() -> None:
    pointers = Pointers(of(1, State.FIRST, State.VERIFIED), {"orders": at(10), "orders__g2": at(9)})
    with pytest.raises(NotReadyError, match=r"covers 0/9, the live one 0/A, .* is a worker following it"):
        switch(pointers, pointers.positions, "orders", wait_s=0.05)  # type: ignore[arg-type]
    assert not pointers.switched


def test_one_that_is_never_level_is_switched_to_once_it_has_kept_up_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(switching, "LEVEL_S", 0.1)
    monkeypatch.setattr(switching, "BEHIND_S", 0.1)
    steps = [{"orders": at(lsn + 1), "orders__g2": at(lsn)} for lsn in range(1_000)]
    pointers = Pointers(of(1, State.FIRST, State.VERIFIED), *steps)
    began = time.monotonic()
    assert switch(pointers, pointers.positions, "orders", wait_s=20).number == 2  # type: ignore[arg-type]
    assert time.monotonic() - began > 0.1


def test_a_switch_to_what_is_live_already_is_done() -> None:
    pointers = Pointers(of(2, State.FIRST, State.VERIFIED), {})
    assert switch(pointers, pointers.positions, "orders", 2).number == 2  # type: ignore[arg-type]
    assert not pointers.switched
