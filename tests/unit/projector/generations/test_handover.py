"""When a worker takes over a table: never past rows that it has not written."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

import pytest

from projections.generations import FIRST, Generation, Registered, State
from projections.orders import ORDERS_BY_USER
from projections.shape import shape_of
from projector.cassandra.progress import Position
from projector.compile.program import compile_models
from projector.generations.errors import RegistryAwayError
from projector.generations.handover import LOOK_S, Handover, SwitchedError, behind, note, noted
from projector.replica.schema import Position as Reached
from projector.replica.schema import open_replica, write_position

NAME = ORDERS_BY_USER.name
OWN = shape_of(ORDERS_BY_USER).fingerprint


def replica(lsn: int) -> sqlite3.Connection:
    connection = open_replica(None, compile_models((ORDERS_BY_USER,)), "a log")
    write_position(connection, Reached(lsn=lsn, applied_lsn=lsn, offset=1, committed_at=1))
    return connection


def live(number: int, fingerprint: str = OWN) -> dict[str, Registered]:
    first = Generation(read_model=NAME, number=FIRST, table=NAME, fingerprint=OWN)
    second = replace(first, number=2, table=f"{NAME}__g2", state=State.VERIFIED, fingerprint=fingerprint)
    return {NAME: Registered(read_model=NAME, generations={1: first, 2: second}, live=number)}


def at(lsn: int) -> dict[str, Position]:
    return {f"{NAME}__g2": Position(lsn=lsn, epoch=1, committed_at=0)}


class Looks:
    """What a worker finds at its looks, a look each turn."""

    def __init__(
        self, found: Mapping[str, Registered] | Exception, positions: Mapping[str, Position], lsn: int
    ) -> None:
        self.found = found
        self.positions = positions
        self.now = 0.0
        self.reads = 0
        self.handover = Handover(
            replica(lsn),
            (ORDERS_BY_USER,),
            {NAME: NAME},
            read=self._read,
            positions=lambda: self.positions,
            clock=lambda: self.now,
        )

    def turn(self, seconds: float = 2 * LOOK_S) -> None:
        self.now += seconds
        self.handover.turned()

    def _read(self) -> Mapping[str, Registered]:
        self.reads += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_a_pointer_that_stays_changes_nothing() -> None:
    Looks(live(1), at(9), lsn=5).turn()


def test_a_table_that_covers_the_replica_is_taken_over() -> None:
    with pytest.raises(SwitchedError) as switched:
        Looks(live(2), at(5), lsn=5).turn()
    assert switched.value.tables == {NAME: f"{NAME}__g2"}


def test_a_table_that_is_behind_the_replica_is_waited_for() -> None:
    looks = Looks(live(2), at(4), lsn=5)
    looks.turn()
    looks.positions = {}
    looks.turn()
    looks.positions = at(5)
    with pytest.raises(SwitchedError):
        looks.turn()


def test_another_declarations_table_is_never_taken_over() -> None:
    Looks(live(2, "another"), at(9), lsn=5).turn()


def test_it_looks_now_and_then_and_later_while_nobody_answers() -> None:
    looks = Looks(live(1), {}, lsn=5)
    for _ in range(8):
        looks.turn(LOOK_S / 8)
    assert looks.reads == 1
    looks.found = RegistryAwayError("away")
    looks.turn()
    looks.turn()
    assert looks.reads == 2  # and the worker goes on


def test_a_replica_notes_what_it_stands_for() -> None:
    connection = replica(5)
    assert noted(connection, (ORDERS_BY_USER,)) == {NAME: NAME}  # of a time before generations
    note(connection, {NAME: f"{NAME}__g2"})
    assert noted(connection, (ORDERS_BY_USER,)) == {NAME: f"{NAME}__g2"}
    note(connection, {"another": "another"})
    assert noted(connection, (ORDERS_BY_USER,)) == {NAME: ""}  # a read model that was declared since


@pytest.mark.parametrize(
    ("lsn", "positions", "late"),
    [(0, {}, False), (5, {}, True), (5, at(4), True), (5, at(5), False), (5, at(6), False)],
)
def test_a_replica_past_a_table_can_not_stand_for_it(lsn: int, positions: dict[str, Position], late: bool) -> None:
    tables = {NAME: f"{NAME}__g2"}
    assert bool(behind(replica(lsn), {NAME: NAME}, tables, positions)) == late
    assert not behind(replica(lsn), tables, tables, {})  # its own
