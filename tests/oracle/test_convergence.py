"""Every read model equals its select() whatever becomes of the log and the workers.

A failing case is kept: a seed of the random mode goes into `SEEDS` with the model's name, a Hypothesis one into an
@example. LOCKSTEP_ORACLE_RUNS multiplies the random runs for a longer search, LOCKSTEP_ORACLE_SEED shifts them.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.read_model import ReadModel
from projector.replica import images
from tests.oracle.lives import IN_PARTS, IN_SLICES, LEAST, LIVES, OF_CAPPED_FEEDS, OF_FEEDS, OF_ROWS, WITH_BUDGETS
from tests.oracle.postgres import Reference
from tests.oracle.simulation import difference
from tests.oracle.views import APPLICATION, MODELS, VIEWS
from tests.oracle.world import Models

FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))
SEEDS: tuple[tuple[str, int], ...] = (
    ("beside", 0),
    ("distincts", 0),
    ("documents", 6),
    ("inner_join", 0),
    ("left_key", 0),
    ("left_key", 5),
    ("left_many", 0),
    ("left_one", 0),
    ("moving", 0),
    ("moving", 7),
    ("of_parent", 0),
    ("plain", 17),
    ("plain", 34),
    ("self_thrice", 0),
    ("sums", 0),
)
"""(model, seed) that failed with one of the rules broken (`tests.oracle.mutants`), or that found a fault."""
BY_NAME = {model.name: model for model in MODELS}
GROUPS: dict[str, tuple[ReadModel, ...]] = {
    **{model.name: (model,) for model in MODELS},
    "all views": VIEWS,
    "reference application": APPLICATION,
}


@cache
def compiled(group: str) -> Models:
    """Compiled once a session; its replicas are used again."""
    return Models(GROUPS[group])


def live(group: str, seed: int, reference: Reference) -> None:
    """One random life; fails with its seed."""
    LIVES[group] += 1
    found = difference(Random(seed), compiled(group), reference)
    assert found is None, f"seed {seed}: {found}"


@pytest.mark.parametrize("name", BY_NAME)
def test_random_lives_converge(name: str, reference: Reference) -> None:
    """One model at a time, a fixed range of seeds."""
    for seed in range(FIRST, FIRST + OF_ROWS):
        live(name, seed, reference)


@pytest.mark.parametrize("name", BY_NAME)
def test_batches_that_are_taken_in_parts_converge(
    name: str, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of more changes than memory should hold reaches the replica in parts, with images of its own each time."""
    monkeypatch.setattr(images, "PART", 2)
    for seed in range(FIRST, FIRST + IN_PARTS):
        live(name, seed, reference)


@pytest.mark.parametrize(("group", "share"), [("all views", 10), ("reference application", 1)])
def test_models_that_share_a_replica_converge(group: str, share: int, reference: Reference) -> None:
    """All at once: their tables, images, groups and batches are shared."""
    for seed in range(FIRST, FIRST + OF_ROWS // share):
        live(group, seed, reference)


def test_there_are_enough_lives() -> None:
    """What is said of the oracle holds: those above, and of slices, budgets and feeds, each at once and in slices."""
    from tests.oracle import test_feed_partitions, test_feeds, test_late_columns, test_slices

    others = len(test_slices.WIDE) * IN_SLICES + 2 * len(test_late_columns.LATE) * WITH_BUDGETS
    others += 2 * (len(test_feeds.BY_NAME) * OF_FEEDS + len(test_feed_partitions.BY_NAME) * OF_CAPPED_FEEDS)
    assert len(BY_NAME) * (OF_ROWS + IN_PARTS) + others >= LEAST


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_seeds_that_failed_once(name: str, seed: int, reference: Reference) -> None:
    """Kept for good."""
    live(name, seed, reference)


@settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(group=st.sampled_from(sorted(GROUPS)), rng=st.randoms(use_true_random=False, note_method_calls=False))
def test_generated_lives_converge(group: str, rng: Random, reference: Reference) -> None:
    """Hypothesis makes every choice, so that what fails is shrunk to the few changes and steps that matter."""
    LIVES[group] += 1
    found = difference(rng, compiled(group), reference, most_commits=6)
    assert found is None, found
