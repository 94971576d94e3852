"""How a build tells how far it is."""

from __future__ import annotations

import json
import math

from projector.generations.pace import Pace, told


def test_rate_and_time_left_are_those_of_the_last_half_minute() -> None:
    pace = Pace()
    pace.saw(0, changes=0, left=0)  # nothing is known before the first read
    pace.saw(1, changes=1_000, left=10_000)
    pace.saw(3, changes=3_000, left=8_000)
    assert pace.rate == 1_000
    assert pace.seconds_left == 8.0
    pace.saw(100, changes=3_000, left=8_000)
    assert pace.rate == 0
    assert math.isnan(pace.seconds_left)
    pace.saw(101, changes=11_000, left=0)
    assert pace.seconds_left == 0


def test_what_the_registry_keeps_is_told_again() -> None:
    pace = Pace()
    pace.saw(0, changes=0, left=2_000)
    pace.saw(1, changes=1_000, left=1_000)
    assert told(pace.as_json(500)) == "500 rows, 1,000 changes/s, 1,000 records to read, about 1 s left"
    assert json.loads(pace.as_json(500))["seconds_left"] == 1.0
    assert "1,000 records to read, about 1 s left" in pace.line(500)
    assert told("") == ""
    pace = Pace()
    pace.saw(0, changes=0, left=5)
    assert told(pace.as_json(0)).endswith("5 records to read, time left unknown")
