"""A serving process looks for cycles seldom: what pages of rows consist of has none."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from read_api.__main__ import spare_collections


@pytest.fixture
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("restored")
def test_a_hundred_pages_begin_no_collection() -> None:
    begun = list[object]()

    def told(phase: str, _info: object) -> None:
        if phase == "start":
            begun.append(phase)

    spare_collections()
    assert gc.get_freeze_count() > 0
    gc.callbacks.append(told)
    try:
        pages = [[(number, [page]) for number in range(50)] for page in range(100)]
    finally:
        gc.callbacks.remove(told)
    assert (len(pages), begun) == (100, [])
