"""Ticks of intervals and cron expressions, and when a run is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, union_all

from command_api.tables import users
from projections.read_model import DeclarationError, ReadModel
from projections.schedule import Interval, ScheduleError, due_at, parse


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "moment", "tick"),
    [
        ("30s", "2026-03-01 10:00:29.999999", "2026-03-01 10:00:30"),
        ("30s", "2026-03-01 10:00:30", "2026-03-01 10:01:00"),
        ("15m", "2026-03-01 10:14", "2026-03-01 10:15"),
        ("1h", "2026-03-01 10:00", "2026-03-01 11:00"),
        ("1d", "2026-02-28 00:00:01", "2026-03-01 00:00"),
        ("1d", "2028-02-28 12:00", "2028-02-29 00:00"),
        ("90m", "1970-01-01 00:00", "1970-01-01 01:30"),
        ("* * * * *", "2026-03-01 10:00:00", "2026-03-01 10:01"),
        ("*/15 * * * *", "2026-03-01 10:44:59", "2026-03-01 10:45"),
        ("0 3 * * 1-5", "2026-03-06 03:00", "2026-03-09 03:00"),
        ("0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00"),
        ("30 2 * * *", "2026-03-28 12:00", "2026-03-29 02:30"),
        ("59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"),
    ],
)
def test_next_tick(schedule: str, moment: str, tick: str) -> None:
    assert parse(schedule).next_after(at(moment)) == at(tick)


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    moment = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    for schedule in ("1d", "0 0 * * *"):
        assert parse(schedule).next_after(moment) == at("2026-03-03")
        assert parse(schedule).next_after(moment).utcoffset() == timedelta()


@given(
    st.integers(1, 999_999).map(lambda n: Interval(every=timedelta(seconds=n))),
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(lambda d: d.replace(tzinfo=UTC)),
)
def test_intervals_tick_at_their_multiples(schedule: Interval, moment: datetime) -> None:
    tick = schedule.next_after(moment)
    assert moment < tick <= moment + schedule.every
    assert (tick - datetime(1970, 1, 1, tzinfo=UTC)) % schedule.every == timedelta()
    assert schedule.next_after(tick) == tick + schedule.every


@pytest.mark.parametrize(
    "text",
    ["", "1", "h", "0s", "-1h", "1.5h", "1w", "1h30m", "every hour", "* * * *", "* * * * * *", "61 * * * *", "@daily"],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="expected an interval"):
        parse(text)


def test_a_date_that_never_comes_is_refused() -> None:
    with pytest.raises(ScheduleError):
        parse("0 0 31 2 *")


def test_a_declaration_refuses_a_schedule_by_name() -> None:
    with pytest.raises(DeclarationError, match="of_users: refresh: '1 hour' is no schedule"):
        ReadModel(name="of_users", select=select(users.c.user_id), partition_key=("user_id",), refresh="1 hour")


def test_a_declaration_takes_a_union() -> None:
    both = union_all(select(users.c.user_id, users.c.name), select(users.c.user_id, users.c.avatar_url))
    model = ReadModel(name="both", select=both, partition_key=("user_id",), clustering_key=("name",), refresh="1h")
    assert list(model.columns) == ["user_id", "name"]


def test_due() -> None:
    hourly, now = parse("1h"), at("2026-03-01 10:30")
    assert due_at(hourly, None, now) == now
    assert due_at(hourly, at("2026-03-01 10:00:01"), now) == at("2026-03-01 11:00")
    assert due_at(hourly, at("2026-03-01 10:29"), now) == at("2026-03-01 11:00")
    missed = due_at(hourly, at("2026-02-27 08:15"), now)
    assert missed == at("2026-02-27 09:00")
    assert missed < now
