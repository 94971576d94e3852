"""Feeds: the merged read equals the SQL whatever becomes of the log and the workers, and never misses what is there.

LOCKSTEP_ORACLE_RUNS multiplies the random runs for a longer search, LOCKSTEP_ORACLE_SEED shifts them.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from random import Random
from typing import Any

import pytest

from projector.apply.step import MOST_KEYS
from projector.feeds.hot import HotAuthors
from tests.oracle.feed_mutants import MUTANTS, UNBROKEN, Mutant, failures
from tests.oracle.feed_views import FEEDS, HOT
from tests.oracle.feeds import difference
from tests.oracle.lives import LIVES, OF_FEEDS
from tests.oracle.postgres import Reference
from tests.oracle.world import Models

FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))
BY_NAME = {feed.model.name: feed for feed in FEEDS}


@cache
def compiled(name: str, most_keys: int) -> Models:
    """Compiled once a session; its replicas are used again."""
    return Models(BY_NAME[name].models, most_keys=most_keys)


@pytest.mark.parametrize("most_keys", [MOST_KEYS, 0], ids=["at once", "in slices"])
@pytest.mark.parametrize("name", BY_NAME)
def test_merged_reads_equal_the_sql(name: str, most_keys: int, feed_reference: Reference) -> None:
    LIVES[name] += OF_FEEDS
    for seed in range(FIRST, FIRST + OF_FEEDS):
        found = difference(Random(seed), BY_NAME[name], compiled(name, most_keys), feed_reference)
        assert found is None, f"seed {seed}: {found}"


def test_authors_cross_the_threshold_both_ways(feed_reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lives above are about something."""
    flips: Counter[bool] = Counter()
    flip = HotAuthors._flip

    def counted(self: HotAuthors, author: Any, hot: bool, **named: bool) -> None:
        flips[hot] += 1
        flip(self, author, hot, **named)

    monkeypatch.setattr(HotAuthors, "_flip", counted)
    for feed in HOT:
        for seed in range(10):
            difference(Random(seed), feed, compiled(feed.model.name, MOST_KEYS), feed_reference)
    assert min(flips[True], flips[False]) > 20, flips


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m not in UNBROKEN], ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_caught(mutant: Mutant, feed_reference: Reference) -> None:
    assert next(failures(mutant, feed_reference, mutant.seeds), None) is not None


@pytest.mark.parametrize("unbroken", UNBROKEN, ids=lambda mutant: mutant.name)
def test_the_engine_itself_passes_the_same_lives(unbroken: Mutant, feed_reference: Reference) -> None:
    assert next(failures(unbroken, feed_reference, range(20)), None) is None
