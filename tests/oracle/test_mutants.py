"""Breaking any rule of the engine is noticed by the oracle; see `tests.oracle.mutants` for the table of counts."""

from __future__ import annotations

import pytest

from tests.oracle.mutants import MUTANTS, UNBROKEN, Mutant, first_failure
from tests.oracle.postgres import Reference


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m not in UNBROKEN], ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_caught(mutant: Mutant, reference: Reference) -> None:
    """Some life goes wrong."""
    assert first_failure(mutant, reference, 200) is not None


@pytest.mark.parametrize("unbroken", UNBROKEN, ids=lambda mutant: mutant.name)
def test_the_engine_itself_passes_the_same_lives(unbroken: Mutant, reference: Reference) -> None:
    """The same seeds over the same views, nothing broken."""
    assert first_failure(unbroken, reference, 50) is None
