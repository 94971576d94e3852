"""The home timeline with a threshold that a test's few users can cross, and the read models that go with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from projections import FOLLOWEES_BY_USER, HOME_TIMELINE, POSTS_BY_AUTHOR
from projections.read_model import ReadModel

assert HOME_TIMELINE.fan_out is not None
THRESHOLD = 40
TIMELINE = replace(
    HOME_TIMELINE,
    fan_out=replace(HOME_TIMELINE.fan_out, threshold=THRESHOLD, active=None, cap=None),
    budgets={"like_count": timedelta(milliseconds=200)},
)
READ_MODELS: tuple[ReadModel, ...] = (TIMELINE, POSTS_BY_AUTHOR, FOLLOWEES_BY_USER)
