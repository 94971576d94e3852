"""A process looks for cycles seldom: what batches of records and pages of rows consist of has none."""

from __future__ import annotations

import gc

from command_api.process.collection import collect_seldom


def test_a_batch_of_objects_begins_no_collection() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    new = [[] for _ in range(10)]  # type: ignore[var-annotated]
    begun = list[str]()

    def told(phase: str, _info: object) -> None:
        begun.append(phase)

    try:
        collect_seldom()
        assert gc.get_freeze_count() >= frozen + len(new)
        gc.callbacks.append(told)
        held = [[number] for number in range(80_000)]
        gc.callbacks.remove(told)
        assert (len(held), begun) == (80_000, [])
    finally:
        gc.set_threshold(*before)
