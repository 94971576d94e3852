"""Caps and inactive readers: what readers get is the SQL, whatever is trimmed, left out, forgotten and written anew.

LOCKSTEP_ORACLE_RUNS multiplies the random runs for a longer search, LOCKSTEP_ORACLE_SEED shifts them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import pytest

from projector.apply.step import MOST_KEYS
from projector.feeds.inactive import Inactive
from tests.oracle.feed_mutants import Mutant, failures
from tests.oracle.feed_views import TABLES, models_of
from tests.oracle.feeds import difference
from tests.oracle.lives import LIVES, OF_CAPPED_FEEDS
from tests.oracle.partition_mutants import BOTH, CAPPED, FLIPPING, MUTANTS, SKIPPING, TRIMMED, UNBROKEN
from tests.oracle.postgres import Reference
from tests.oracle.trims import trims
from tests.oracle.world import Models, Rules

GROUPED = Rules(trims=trims, grouped=0.6)
FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))
BY_NAME = {feed.model.name: feed for feed in (*CAPPED, *FLIPPING, *SKIPPING, *BOTH)}


@pytest.fixture(scope="module")
def answers(judge: str) -> Iterator[Reference]:
    """What the SQL of these feeds gives."""
    made = Reference(judge, TABLES, models_of(BY_NAME.values()))
    yield made
    made.close()


@cache
def compiled(name: str, most_keys: int) -> Models:
    """Compiled once a session; its replicas are used again."""
    return Models(BY_NAME[name].models, most_keys=most_keys)


@pytest.mark.parametrize("most_keys", [MOST_KEYS, 0], ids=["at once", "in slices"])
@pytest.mark.parametrize("name", BY_NAME)
def test_readers_get_the_sql(name: str, most_keys: int, answers: Reference) -> None:
    LIVES[name] += OF_CAPPED_FEEDS
    for seed in range(FIRST, FIRST + OF_CAPPED_FEEDS):
        rules = GROUPED if seed % 3 == 0 else TRIMMED
        found = difference(Random(seed), BY_NAME[name], compiled(name, most_keys), answers, rules=rules)
        assert found is None, f"seed {seed}: {found}"


def test_who_is_back_and_away_again_before_a_commit_keeps_the_mark(answers: Reference) -> None:
    """A reader woken by two batches, and away again by a third one of the same commit, lost rows unmarked."""
    feed = BY_NAME["feed_9_60_cap_3_active"]
    models = compiled(feed.model.name, MOST_KEYS)
    assert difference(Random(11), feed, models, answers, rules=GROUPED, most_commits=40) is None


def test_readers_come_and_go(answers: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lives above are about something."""
    seen: Counter[str] = Counter()
    work, kept = Inactive.work, Inactive.kept

    def counted(self: Inactive, most: int) -> Any:
        found = work(self, most)
        seen["written anew"] += len(found)
        return found

    def left(self: Inactive, rows: Any) -> Any:
        some = kept(self, rows)
        seen["left out"] += len(rows) - len(some)
        return some

    monkeypatch.setattr(Inactive, "work", counted)
    monkeypatch.setattr(Inactive, "kept", left)
    for feed in SKIPPING:
        for seed in range(20):
            difference(Random(seed), feed, compiled(feed.model.name, MOST_KEYS), answers)
    assert min(seen["written anew"], seen["left out"]) > 10, seen


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m not in UNBROKEN], ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_caught(mutant: Mutant, answers: Reference) -> None:
    assert next(failures(mutant, answers, mutant.seeds), None) is not None
