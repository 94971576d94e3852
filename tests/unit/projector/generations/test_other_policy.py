"""A worker whose feed copies by other rules does not write the table of a worker that has these: it stops at its start."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from projections.feeds import HOME_TIMELINE
from projections.generations import FIRST, Generation, Registered
from projections.shape import Different, shape_of
from projector.generations.fitting import verdicts

NAME = HOME_TIMELINE.name
SHAPE = shape_of(HOME_TIMELINE)
LIVE = Generation(read_model=NAME, number=FIRST, table=NAME, shape=SHAPE.to_json(), fingerprint=SHAPE.fingerprint)
FOUND = {NAME: Registered(read_model=NAME, generations={FIRST: LIVE}, live=FIRST)}
assert HOME_TIMELINE.fan_out is not None
assert HOME_TIMELINE.fan_out.active is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 1_000),
        ("back", 0.5),
        ("cap", 700),
        ("cap", None),
        ("active", replace(HOME_TIMELINE.fan_out.active, within=timedelta(days=8))),
    ],
)
def test_a_worker_with_another_policy_is_told_so(field: str, value: Any) -> None:
    assert HOME_TIMELINE.fan_out is not None
    other = replace(HOME_TIMELINE, fan_out=replace(HOME_TIMELINE.fan_out, **{field: value}))
    verdict = verdicts(FOUND, [other], {NAME})[NAME]
    assert isinstance(verdict, Different)
    assert f"fan_out differs in {field}" in verdict.reasons[0]


def test_a_worker_with_the_same_policy_goes_on() -> None:
    assert verdicts(FOUND, [HOME_TIMELINE], {NAME}) == {}
