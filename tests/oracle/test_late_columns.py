"""Read models converge also when some of their columns may be late: budgets, crashes and flushes at any moment.

A worker's clock runs as it likes here, and is set back or ahead by a crash now and then: it may only decide when.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from functools import cache
from random import Random

import pytest

from projections.read_model import ReadModel
from projector.compile.errors import CompileError
from projector.compile.program import compile_models
from tests.oracle.feed_views import FEEDS, Feed
from tests.oracle.feeds import difference as merged_difference
from tests.oracle.lives import LIVES, WITH_BUDGETS
from tests.oracle.postgres import Reference
from tests.oracle.simulation import difference
from tests.oracle.views import APPLICATION, MODELS
from tests.oracle.world import Models, Rules

FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))
SECONDS = (1, 4, 20)


def separable(model: ReadModel) -> tuple[str, ...]:
    """Columns that may have a budget, when all columns of their joins have one."""
    analysis = compile_models([model]).models[0].analysis
    found: set[str] = set()
    for occurrence in analysis.occurrences:
        names = {o.name for o in analysis.outputs if occurrence.index in o.expression.occurrences()} - set(model.key)
        if names and waits(replace(model, budgets=dict.fromkeys(found | names, timedelta(seconds=1)))):
            found |= names
    return tuple(sorted(found))


def waits(model: ReadModel) -> bool:
    """Whether the engine takes the budgets."""
    try:
        return any(statement.budget for statement in compile_models([model]).models[0].touch)
    except CompileError:
        return False


def with_budgets(model: ReadModel, seed: int) -> ReadModel:
    """The read model with random budgets of some of its columns, as many as can be kept."""
    rng = Random(seed)
    names = separable(model)
    chosen = {name: timedelta(seconds=rng.choice(SECONDS)) for name in names if rng.random() < 0.7}
    some = replace(model, budgets=chosen)
    return some if waits(some) else replace(model, budgets={n: timedelta(seconds=rng.choice(SECONDS)) for n in names})


LATE = {
    model.name: replace(model, staleness=None)  # which would bound the budgets
    for model in (*MODELS, *APPLICATION)
    if model.refresh is None and model.fan_out is None and separable(model)
}


@cache
def late(name: str, seed: int = 0, most_keys: int = 0) -> Models:
    """Compiled once. most_keys: what else fans out may touch at once."""
    return Models((with_budgets(LATE[name], seed),), most_keys=most_keys)


def test_the_views_with_separable_columns_are_many() -> None:
    assert len(LATE) >= 12, sorted(LATE)


@pytest.mark.parametrize("most_keys", [0, 20_000])
@pytest.mark.parametrize("name", LATE)
def test_budgets_converge(name: str, most_keys: int, reference: Reference) -> None:
    """Also beside changes that are put aside because they fan out."""
    LIVES[name] += WITH_BUDGETS
    for seed in range(FIRST, FIRST + WITH_BUDGETS):
        found = difference(Random(seed), late(name, seed % 3, most_keys), reference)
        assert found is None, f"seed {seed}: {found}"


def test_models_with_budgets_share_a_replica(reference: Reference) -> None:
    models = Models(tuple(with_budgets(model, 0) for model in LATE.values()))
    for seed in range(FIRST, FIRST + WITH_BUDGETS):
        found = difference(Random(seed), models, reference)
        assert found is None, f"seed {seed}: {found}"


@pytest.mark.parametrize("most_keys", [0, 20_000])
@pytest.mark.parametrize("feed", [f for f in FEEDS if separable(f.policy.pull)], ids=lambda feed: feed.model.name)
def test_feeds_with_budgets_converge(feed: Feed, most_keys: int, feed_reference: Reference) -> None:
    """Their merged reads too: flips, flags and skipped readers come in between."""
    timed = replace(feed, model=replace(feed.model, budgets={"liked": timedelta(seconds=4)}))
    models = Models(timed.models, most_keys=most_keys)
    assert models.timed
    for seed in range(FIRST, FIRST + WITH_BUDGETS):
        found = merged_difference(Random(seed), timed, models, feed_reference)
        assert found is None, f"seed {seed}: {found}"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Rules(alone=True), id="the column is written alone"),
        pytest.param(Rules(durable=False), id="the keys do not survive a crash"),
        pytest.param(Rules(hold_back=False), id="the position is not held back"),
    ],
)
def test_a_broken_rule_is_caught(broken: Rules, reference: Reference) -> None:
    assert any(difference(Random(seed), late(name), reference, rules=broken) for seed in range(400) for name in LATE)
