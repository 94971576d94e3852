"""When a scheduled read model runs: ``refresh="1h"``, ``"15m"``, ``"30s"``, ``"1d"``, or five fields of cron. Pure; UTC.

An interval's ticks are its multiples since 1970-01-01T00:00Z ("1h" is every full hour, "1d" every midnight), so that all
processes agree on them and a restart moves none. Not promised: that a tick is not missed; `due_at` gives a tick that
passed while nothing ran as due at once, and several missed ticks as one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cronsim import CronSim, CronSimError

_INTERVAL = re.compile(r"([1-9]\d{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_CRON_FIELDS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleError(ValueError):
    """A text that is neither an interval nor a cron expression that ever comes; the message says what is expected."""


class Schedule(Protocol):
    """A sequence of ticks without an end."""

    def next_after(self, moment: datetime) -> datetime:
        """The first tick after an aware datetime, in UTC."""
        ...


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Every so often, counted from 1970-01-01T00:00Z."""

    every: timedelta

    def next_after(self, moment: datetime) -> datetime:
        """The first multiple after `moment`."""
        return _EPOCH + ((moment - _EPOCH) // self.every + 1) * self.every


@dataclass(frozen=True, kw_only=True)
class Cron:
    """Five fields: minute, hour, day of month, month, day of week; in UTC, so no hour comes twice or not at all."""

    expression: str

    def next_after(self, moment: datetime) -> datetime:
        """The first match after `moment`; raises ScheduleError when none comes within fifty years."""
        try:
            return next(CronSim(self.expression, moment.astimezone(UTC)))
        except StopIteration as error:
            raise ScheduleError(f"{self.expression!r} never comes: correct its day or month") from error


def parse(text: str) -> Schedule:
    """The schedule that a text means; raises ScheduleError."""
    found = _INTERVAL.fullmatch(text)
    if found:
        return Interval(every=timedelta(seconds=int(found[1]) * _SECONDS[found[2]]))
    expected = 'expected an interval as in "30s", "15m", "1h", "1d", or five fields of cron as in "0 3 * * 1-5"'
    if len(text.split()) != _CRON_FIELDS:
        raise ScheduleError(f"{text!r} is no schedule: {expected}")
    try:
        CronSim(text, _EPOCH)
    except CronSimError as error:
        raise ScheduleError(f"{text!r} is no schedule ({error}): {expected}") from error
    schedule = Cron(expression=text)
    schedule.next_after(_EPOCH)
    return schedule


def due_at(schedule: Schedule, last_started: datetime | None, now: datetime) -> datetime:
    """When the next run is due: the first tick after the last successful run began, at once when there was none."""
    return now if last_started is None else schedule.next_after(last_started)
