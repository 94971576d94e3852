"""Fan-out policies that can't work are refused where they are declared, by the field's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Column, Date, DateTime, Integer, MetaData, Table, Uuid

from projections.fan_out import Active, FanOut
from projections.feeds import HOME_TIMELINE
from projections.read_model import DeclarationError

assert HOME_TIMELINE.fan_out is not None
POLICY: FanOut = HOME_TIMELINE.fan_out
READERS = Table(
    "readers",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("number", Integer),
    Column("seen", DateTime(timezone=True)),
    Column("local", DateTime()),
    Column("day", Date()),
)


def active(reader: str = "id", seen: str = "seen") -> FanOut:
    return replace(POLICY, active=Active(table=READERS, reader=reader, seen=seen, within=timedelta(days=7)))


REFUSED: dict[str, Callable[[], object]] = {
    "pull.refresh": lambda: replace(
        HOME_TIMELINE, fan_out=replace(POLICY, pull=replace(POLICY.pull, refresh="1h", staleness=None))
    ),
    "following.refresh": lambda: replace(
        HOME_TIMELINE, fan_out=replace(POLICY, following=replace(POLICY.following, refresh="1h", staleness=None))
    ),
    "fan_out: refresh of 'home_timeline'": lambda: replace(HOME_TIMELINE, refresh="1h"),
    "fan_out.active.seen: readers.day": lambda: replace(HOME_TIMELINE, fan_out=active(seen="day")),
    "fan_out.active.seen: readers.local": lambda: replace(HOME_TIMELINE, fan_out=active(seen="local")),
    "fan_out.active.reader: readers.number": lambda: replace(HOME_TIMELINE, fan_out=active(reader="number")),
    "fan_out.active: readers has no column 'name'": lambda: replace(HOME_TIMELINE, fan_out=active(reader="name")),
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_policy_that_cannot_work_is_refused(field: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        REFUSED[field]()
    assert field in str(refused.value)


def test_a_table_of_readers_with_their_ids_and_times_is_taken() -> None:
    replace(HOME_TIMELINE, fan_out=active())
