"""Feeds with one of their rules broken at a time: each must be caught by `tests.oracle.feeds`, or that proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from projector.apply.step import MOST_KEYS, Step
from projector.compile.pushed import FLIPS, FeedProgram
from projector.feeds.feeds import Feeds
from projector.feeds.hot import HotAuthors
from projector.feeds.policy import SideWrite
from projector.replica.images import _TableImages
from tests.oracle.feed_views import HOT, Feed
from tests.oracle.feeds import difference
from tests.oracle.postgres import Reference
from tests.oracle.world import Models, Rules

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A rule that is broken. feeds: where it matters. most_keys: 0 for all flips in slices. rules: the worker's.

    seeds: lives among which one needs the rule.
    """

    name: str
    feeds: tuple[Feed, ...] = HOT
    breaks: Break = lambda monkeypatch: None
    most_keys: int = 0
    rules: Rules = field(default_factory=Rules)
    seeds: Iterable[int] = range(300)


def _unpatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HotAuthors, "_put_aside", lambda self, author: False)


def _cleared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = HotAuthors.first

    def both(self: HotAuthors) -> Iterator[SideWrite]:
        yield from first(self)
        yield from self.last()

    monkeypatch.setattr(HotAuthors, "first", both)


def _only_net_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    flush = _TableImages.flush

    def net(self: _TableImages) -> None:
        if self.table.fullname.startswith("lockstep_feeds."):
            self._between.clear()
            read = self._connection.execute
            self._final = {k: r for k, r in self._final.items() if read(self._read, k).fetchone() != r}
        flush(self)

    monkeypatch.setattr(_TableImages, "flush", net)


def _decided_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    take, end = Step.take, Feeds.end

    def counting(self: Step, transactions: Iterable[Any], *arguments: Any, **named: Any) -> dict[str, int]:
        batch = list(transactions)
        left = [len(batch)]

        def last_only(feeds: Feeds, committed_at: int, *, snapshot: bool) -> None:
            left[0] -= 1
            if not left[0]:
                end(feeds, committed_at, snapshot=snapshot)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Feeds, "end", last_only)
            return take(self, batch, *arguments, **named)

    monkeypatch.setattr(Step, "take", counting)


def _copies_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    copied, copies = FeedProgram.copied, FeedProgram.copies
    monkeypatch.setattr(FeedProgram, "copied", lambda self, author: copied(self, author).partition(" OR ")[0] + ")")
    monkeypatch.setattr(FeedProgram, "copies", lambda self, gone: copies(self, ()))


def _thawed_for_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    forget = HotAuthors._forget_thawed
    monkeypatch.setattr(HotAuthors, "_forget_thawed", lambda self: None if self._hot_now else forget(self))


def _debt_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    reset = HotAuthors.reset

    def forgetful(self: HotAuthors) -> None:
        self._run(f"DELETE FROM {FLIPS}")
        reset(self)

    monkeypatch.setattr(HotAuthors, "reset", forgetful)


def _flagged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag is written for authors who were not hot before the batch only."""
    flip = HotAuthors._flip

    def once(self: HotAuthors, author: Any, hot: bool, **named: bool) -> None:
        known = author in self._hot_now
        flip(self, author, hot, **named)
        if known:
            del self._hot_now[author]

    monkeypatch.setattr(HotAuthors, "_flip", once)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(name="none, at once", most_keys=MOST_KEYS),
    Mutant(name="none, in slices"),
    Mutant(name="flag after rows", most_keys=MOST_KEYS, rules=Rules(flags_first=False)),
    Mutant(name="flag cleared before the back-fill is drained", breaks=_unpatient),
    Mutant(name="flag cleared before rows", breaks=_cleared_at_once, most_keys=MOST_KEYS),
    # Rare: the ranges are those in which some of a thousand lives of each feed need it.
    Mutant(
        name="no image of a flip that comes back", breaks=_only_net_flips, most_keys=MOST_KEYS, seeds=range(720, 740)
    ),
    Mutant(name="flips decided by batch", breaks=_decided_by_batch, most_keys=MOST_KEYS),
    Mutant(name="copies of a flip under way are not looked for", breaks=_copies_forgotten),
    Mutant(name="thawed though another transaction follows", breaks=_thawed_for_the_batch, seeds=range(60, 300)),
    Mutant(name="the flag's debt does not outlive a crash", breaks=_debt_in_memory, seeds=range(25, 300)),
    Mutant(
        name="a flip that comes back is not told again",
        breaks=_flagged_once,
        most_keys=MOST_KEYS,
        seeds=range(37, 300),
    ),
)
UNBROKEN = MUTANTS[:2]


def failures(mutant: Mutant, reference: Reference, seeds: Iterable[int]) -> Iterator[tuple[str, int, str]]:
    """(feed, seed, what is wrong) of the lives that the mutant gets wrong."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        mutant.breaks(monkeypatch)
        compiled = [(feed, Models(feed.models, most_keys=mutant.most_keys)) for feed in mutant.feeds]
        for seed in seeds:
            for feed, models in compiled:
                found = difference(Random(seed), feed, models, reference, rules=mutant.rules)
                if found is not None:
                    yield feed.model.name, seed, found
