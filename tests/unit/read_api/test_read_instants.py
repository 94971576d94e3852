"""Instants as text: exact over their whole range, equal to Python's own calendar where that reaches."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from read_api import instants

DAYS = st.integers(-(1 << 31), (1 << 31) - 1)
MICROS = st.integers(-(1 << 63), (1 << 63) - 1)
EPOCH = datetime(1970, 1, 1)


@given(DAYS)
def test_a_date_comes_back_as_the_same_day(days: int) -> None:
    assert instants.parse_date(instants.format_date(days)) == days


@given(MICROS)
def test_a_timestamp_comes_back_as_the_same_microsecond(micros: int) -> None:
    assert instants.parse_timestamp(instants.format_timestamp(micros)) == micros
    assert instants.parse_timestamptz(instants.format_timestamptz(micros)) == micros


@given(st.dates())
def test_dates_are_pythons(day: date) -> None:
    days = day.toordinal() - date(1970, 1, 1).toordinal()
    assert instants.format_date(days) == day.isoformat()
    assert instants.parse_date(day.isoformat()) == days


@given(st.datetimes(), st.integers(-15 * 60, 15 * 60))
def test_timestamps_are_pythons(at: datetime, minutes: int) -> None:
    micros = (at - EPOCH) // timedelta(microseconds=1)
    assert instants.format_timestamp(micros) == at.isoformat(timespec="microseconds")
    sign = "-" if minutes < 0 else "+"
    text = f"{at.isoformat()}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    assert instants.parse_timestamptz(text) == micros - minutes * 60_000_000


@given(st.integers(0, instants.MICROS_PER_DAY - 1))
def test_a_time_comes_back_as_the_same_microsecond(micros: int) -> None:
    assert instants.parse_time(instants.format_time(micros)) == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (instants.INFINITE_MICROS, "infinity"),
        (instants.MINUS_INFINITE_MICROS, "-infinity"),
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (253_402_300_800_000_000, "+10000-01-01T00:00:00.000000Z"),
        (-62_167_219_200_000_001, "-0001-12-31T23:59:59.999999Z"),
        (-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
    ],
)
def test_the_ends_of_the_calendar(micros: int, text: str) -> None:
    assert instants.format_timestamptz(micros) == text
    assert instants.parse_timestamptz(text) == micros


def test_a_plus_that_a_form_decoder_took_is_read_back() -> None:
    assert instants.parse_timestamptz("2024-03-01T12:30:00 02:00") == instants.parse_timestamptz("2024-03-01T10:30Z")
    assert instants.parse_date(" 10000-01-01") == instants.parse_date("+10000-01-01")


@pytest.mark.parametrize(
    "text",
    ["", "2024", "2024-02-30", "2024-13-01", "2023-02-29", "24-01-01", "2024-1-1", "\u0662024-01-01", "+9999999-01-01"],
)
def test_no_date(text: str) -> None:
    with pytest.raises(instants.InvalidInstantError):
        instants.parse_date(text)


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-01", "2024-03-01T12", "2024-03-01T24:00:00Z", "2024-03-01T12:60Z", "2024-03-01T12:00:61Z",
        "2024-03-01T12:00:00.0000001Z", "2024-03-01T12:00:00", "2024-03-01T12:00:00+16:00", "now", "+300000-01-01T00:00Z",
    ],
)  # fmt: skip
def test_no_timestamptz(text: str) -> None:
    with pytest.raises(instants.InvalidInstantError):
        instants.parse_timestamptz(text)


@pytest.mark.parametrize(
    "text",
    [
        "+294247-01-10T04:00:54.775806-12:00",
        "+294247-01-10T05:00:54.775807+01:00",  # what stands for infinity
        "-290308-12-21T20:59:05.224192+01:00",
        "-290308-12-21T19:59:05.224192Z",  # what stands for -infinity
    ],
)
def test_an_offset_leads_out_of_the_range_of_neither_end(text: str) -> None:
    with pytest.raises(instants.InvalidInstantError, match="out of range"):
        instants.parse_timestamptz(text)


def test_an_offset_leads_into_the_range() -> None:
    assert instants.parse_timestamptz("+294247-01-10T05:00:54.775806+01:00") == instants.INFINITE_MICROS - 1


def test_a_timestamp_without_zone_takes_no_offset() -> None:
    with pytest.raises(instants.InvalidInstantError, match="leave the offset out"):
        instants.parse_timestamp("2024-03-01T12:00:00Z")


def test_now_is_now() -> None:
    before = datetime.now(UTC)
    now = instants.now_micros()
    assert before <= datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now) <= datetime.now(UTC)


@given(st.lists(st.one_of(st.none(), MICROS, st.integers(-(10**17), 10**17))))
def test_a_column_of_timestamps_is_formatted_like_each_of_them(column: list[int | None]) -> None:
    for zone, one in (("", instants.format_timestamp), ("Z", instants.format_timestamptz)):
        wanted = [None if micros is None else one(micros) for micros in column]
        assert instants.format_timestamps(column, zone) == wanted
