"""Read models converge also when every change of a parent is put aside and worked off in slices of a key or two.

Crashes fall between slices, other changes to the same rows too; the published position is held back meanwhile.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random

import pytest

from projections.read_model import ReadModel
from projector.compile.program import compile_models
from projector.replica.deferred import Deferred
from tests.oracle.lives import IN_SLICES, LIVES
from tests.oracle.postgres import Reference
from tests.oracle.simulation import difference
from tests.oracle.views import APPLICATION, MODELS
from tests.oracle.world import Models, Rules

FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))


def fans_out(model: ReadModel) -> bool:
    """Whether a parent's change is put aside by itself."""
    return any(statement.wide is not None for statement in compile_models([model]).models[0].touch)


WIDE = {model.name: model for model in MODELS if model.refresh is None and fans_out(model)}


@cache
def sliced(name: str) -> Models:
    """Compiled once; nothing that fans out is touched at once."""
    return Models((WIDE[name],) if name in WIDE else APPLICATION, most_keys=0)


def test_the_views_that_fan_out_are_many() -> None:
    assert len(WIDE) >= 12, sorted(WIDE)


@pytest.mark.parametrize("name", [*WIDE, "reference application"])
def test_slices_converge(name: str, reference: Reference) -> None:
    LIVES[name] += IN_SLICES
    for seed in range(FIRST, FIRST + IN_SLICES):
        found = difference(Random(seed), sliced(name), reference)
        assert found is None, f"seed {seed}: {found}"


def test_a_position_that_is_not_held_back_loses_rows(reference: Reference) -> None:
    """A worker whose volume is lost believes what is published."""
    rules = Rules(hold_back=False)
    assert any(difference(Random(s), sliced(n), reference, rules=rules) for s in range(400) for n in WIDE)


def test_a_parent_that_changes_again_is_gone_through_again(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the second change forgotten while the first is under way, rows keep the value in between."""
    put = Deferred.put

    def once(self: Deferred, *arguments: object) -> bool:
        aside = put(self, *arguments)  # type: ignore[arg-type]
        self._run("UPDATE main.deferred SET again = NULL")
        return aside

    monkeypatch.setattr(Deferred, "put", once)
    # Rare: a range in which some lives need it.
    assert any(difference(Random(s), sliced(n), reference) for s in range(60, 400) for n in WIDE)
