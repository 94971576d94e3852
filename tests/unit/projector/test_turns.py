"""Slices and other changes take turns by their shares."""

from __future__ import annotations

import pytest

from projector.slices import Turn


@pytest.mark.parametrize(("share", "earned"), [(0.5, 0.1), (0.2, 0.025), (0.75, 0.3)])
def test_slices_earn_their_share_of_the_whole(share: float, earned: float) -> None:
    turn = Turn(share)
    assert not turn.due
    turn.earn(0.1)
    turn.spend(earned - 0.001)
    assert turn.due
    turn.spend(0.002)
    assert not turn.due


def test_what_a_slice_took_too_long_is_paid_back() -> None:
    turn = Turn(0.5)
    turn.earn(0.01)
    turn.spend(0.05)
    turn.earn(0.03)
    assert not turn.due
    turn.earn(0.02)
    assert turn.due


def test_a_share_is_not_saved_up_for_long() -> None:
    turn = Turn(0.5)
    turn.earn(3_600)
    turn.spend(1.0)
    assert not turn.due
