"""Feeds with a cap or inactive readers, each with one of their rules broken: all must be caught.

By random lives (`MUTANTS`), or, where it takes too many of them, by the history that needs the rule
(`tests.oracle.test_counter_examples_of_partitions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest

from projector.apply.step import MOST_KEYS, Step
from projector.feeds.cap import Cap, Trim, trim_at
from projector.feeds.inactive import Inactive
from projector.feeds.policy import Row, SideWrite
from tests.oracle.feed_mutants import Mutant
from tests.oracle.feed_views import ACTIVE, joined, of_edges
from tests.oracle.trims import trims
from tests.oracle.world import Rules

CAPPED = tuple(
    shape(threshold, 0.9, cap=cap)
    for shape in (joined, of_edges)
    for threshold, cap in ((9, 1), (9, 2), (2, 3), (3, 4))
)
FLIPPING = tuple(
    shape(threshold, 0.9, cap=cap) for shape in (joined, of_edges) for threshold, cap in ((1, 2), (2, 1), (2, 2))
)
SKIPPING = tuple(shape(threshold, 0.9, active=ACTIVE) for shape in (joined, of_edges) for threshold in (9, 2))
BOTH = tuple(joined(threshold, 0.6, cap=cap, active=ACTIVE) for threshold, cap in product((9, 3), (1, 2, 3)))
TRIMMED = Rules(trims=trims)


def _stamped_as_the_rows(reached: int, applied: int, held_back: int | None) -> Trim:
    return Trim(reached=reached, applied=applied, stamp=reached)


def _stamped_above_what_waits(reached: int, applied: int, held_back: int | None) -> Trim:
    return trim_at(reached, applied, None)


def _not_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cap, "_touch_last", lambda self, reader, lost: 0)


def _one_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Cap._touch_last
    monkeypatch.setattr(Cap, "_touch_last", lambda self, reader, lost: whole(self, reader, lost - 1))


def _only_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes up from below the cap is written, when rows that came in the same batch leave room for it."""
    whole = Cap._touch_last

    def missing(self: Cap, reader: Any, lost: int) -> int:
        new = self._connection.execute(self._written, (reader,)).fetchone()[0] - lost
        return whole(self, reader, max(0, lost - new))

    monkeypatch.setattr(Cap, "_touch_last", missing)


def _counts_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    reset = Cap.reset

    def forgetful(self: Cap) -> None:
        self._connection.execute("DELETE FROM main.copies")
        reset(self)

    monkeypatch.setattr(Cap, "reset", forgetful)


def _mark_after_position(monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = Inactive.first, Inactive.last
    kept: dict[int, list[SideWrite]] = {}

    def later(self: Inactive) -> Iterator[SideWrite]:
        kept[id(self)] = [*kept.get(id(self), ()), *first(self)]
        return iter(())

    def late(self: Inactive) -> Iterator[SideWrite]:
        before = kept.pop((id(self), "before"), [])  # type: ignore[call-overload]
        kept[(id(self), "before")] = kept.pop(id(self), [])  # type: ignore[index]
        return iter([*before, *last(self)])

    monkeypatch.setattr(Inactive, "first", later)
    monkeypatch.setattr(Inactive, "last", late)


def _cleared_before_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Inactive.first

    def both(self: Inactive) -> Iterator[SideWrite]:
        yield from first(self)
        yield from self.last()

    monkeypatch.setattr(Inactive, "first", both)


def _waking_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Inactive.work

    def nothing(self: Inactive, most: int) -> list[Row]:
        work(self, most)
        return []

    monkeypatch.setattr(Inactive, "work", nothing)


def _deletes_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Step.absent

    def fewer(self: Step, model: Any) -> Iterator[list[Row]]:
        policy = self.feeds.inactive.get(model.model.name)
        for rows in absent(self, model):
            yield rows if policy is None else policy.kept(list(rows))

    monkeypatch.setattr(Step, "absent", fewer)


def _known_ones_only(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = Inactive._decide
    monkeypatch.setattr(
        Inactive, "_decide", lambda self, reader, limit, *, was_too_old: decide(self, reader, limit, was_too_old=False)
    )


def _told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = Inactive._decide

    def once(self: Inactive, reader: Any, limit: int, *, was_too_old: bool) -> None:
        known = self._run("SELECT 1 FROM main.inactive WHERE reader = ?", (reader,)).fetchone()
        decide(self, reader, limit, was_too_old=was_too_old)
        if known and reader in self._told:
            self._told.remove(reader)

    monkeypatch.setattr(Inactive, "_decide", once)


_capped = partial(Mutant, feeds=CAPPED, rules=TRIMMED)
_skipping = partial(Mutant, feeds=(*SKIPPING, *BOTH), rules=TRIMMED, most_keys=MOST_KEYS)
MUTANTS: tuple[Mutant, ...] = (
    _capped(name="none, of caps at once", most_keys=MOST_KEYS),
    _capped(name="none, of caps in slices"),
    _skipping(name="none, of inactive readers"),
    # Where a range is given, few lives need the rule, and some in it do.
    _capped(
        name="trimmed one too high",
        rules=Rules(trims=partial(trims, keep=lambda cap: max(1, cap - 1))),
        seeds=range(44, 300),
    ),
    _capped(name="nothing is written anew after a loss", breaks=_not_written_anew, seeds=range(28, 300)),
    _capped(name="one too few is written anew", breaks=_one_too_few, seeds=range(28, 300)),
    _skipping(name="mark after position", breaks=_mark_after_position),
    _skipping(name="mark cleared before rows", breaks=_cleared_before_rows),
    _skipping(name="waking without rows", breaks=_waking_without_rows),
    _skipping(name="deletes are left out too", breaks=_deletes_left_out),
)
UNBROKEN = MUTANTS[:3]
