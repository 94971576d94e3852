"""Every construct that the compile maintains stands in a declared view."""

from __future__ import annotations

from functools import cache

import pytest

from tests.oracle.constructs import CONSTRUCTS, covering
from tests.oracle.views import VIEWS


@cache
def covered() -> dict[str, list[str]]:
    """Construct to views, once a session."""
    return covering(VIEWS)


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_a_view_has_it(construct: str) -> None:
    """Without such a view nothing tries to break it."""
    assert covered()[construct]


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_a_view_does_without_it(construct: str) -> None:
    """A test that every view passes would not tell one construct from another."""
    assert len(covered()[construct]) < len(VIEWS)
