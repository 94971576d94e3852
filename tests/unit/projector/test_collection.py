"""Collections are seldom from then on, and look at nothing that was there."""

from __future__ import annotations

import gc

from projector.collection import collect_seldom


def test_a_batch_of_objects_makes_no_collection() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        collect_seldom()
        assert gc.get_freeze_count() > frozen
        seen = sum(generation["collections"] for generation in gc.get_stats())
        held = [(object(),) for _ in range(40_000)]
        assert len(held) == 40_000
        assert sum(generation["collections"] for generation in gc.get_stats()) == seen
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
