"""Fan-out policies that can't work are refused where they are declared, by the field's name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Column, Date, DateTime, Integer, MetaData, Table, Uuid

from projections.fan_out import Active, FanOut
from projections.feeds import HOME_TIMELINE, threshold_in
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


@pytest.mark.parametrize("text", ["ten", "0", "", "-5", "1e3", "²"])
def test_a_threshold_that_is_no_number_of_followers_is_refused_by_the_variable(text: str) -> None:
    with pytest.raises(DeclarationError, match="LOCKSTEP_FEED_THRESHOLD"):
        threshold_in({"LOCKSTEP_FEED_THRESHOLD": text})


def test_a_threshold_is_taken_or_the_one_for_production() -> None:
    assert threshold_in({"LOCKSTEP_FEED_THRESHOLD": "40"}) == 40
    assert threshold_in({}) == 10_000


def test_a_command_says_in_one_line_what_is_wrong_with_the_threshold() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "projector", "explain", "orders_by_user"],
        env={**os.environ, "LOCKSTEP_FEED_THRESHOLD": "ten"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "LOCKSTEP_FEED_THRESHOLD is 'ten'" in line
