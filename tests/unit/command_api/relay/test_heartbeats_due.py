"""When `relay heartbeats` speaks."""

from __future__ import annotations

import pytest

from command_api.relay.heartbeats import IDLE_S, due


@pytest.mark.parametrize(
    ("written", "silent_s", "speaks"),
    [(0, 0.0, False), (0, IDLE_S / 2, False), (8, 0.0, True), (0, IDLE_S * 1.5, True), (8, IDLE_S * 1.5, True)],
)
def test_what_was_written_and_time_that_passed_are_told(written: int, silent_s: float, speaks: bool) -> None:
    assert due(written, silent_s) is speaks
