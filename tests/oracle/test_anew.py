"""Whoever goes on from a later whole snapshot ends where he would have ended without passing anything over."""

from __future__ import annotations

import os
from random import Random

import pytest

from projections.read_model import ReadModel
from projector.apply.anew import Anew
from projector.apply.consume import Assembler
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from tests.oracle.history import Commit, Event, history
from tests.oracle.log import records
from tests.oracle.views import MODELS
from tests.oracle.world import Models

RUNS = 12 * int(os.environ.get("LOCKSTEP_ORACLE_RUNS", "1"))
FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))
Rows = dict[tuple[object, ...], tuple[object, ...]]


def write(models: Models, step: Step, rows: Rows) -> None:
    """What a batch comes to."""
    (program,) = models.program.models
    width = len(program.model.key)
    for chunk in step.present(program):
        rows.update((row[:width], row) for row in chunk)
    for keys in step.absent(program):
        for key in keys:
            rows.pop(key, None)


def transactions(commits: list[Commit], anew: Anew | None = None) -> list[Transaction]:
    """Commits as a worker reads them."""
    log = records(commits)
    found = Assembler(0).feed((at, entry.value) for at, entry in enumerate(log))
    items = found if anew is None else anew.items(found, lambda lsn: None)
    return [item for item in items if isinstance(item, Transaction)]


def tables(models: Models, parts: list[list[Transaction]]) -> Rows:
    """The table after all of them, one batch each."""
    connection, step = replica = models.replica()
    step.reset()
    rows: Rows = {}
    for part in parts:
        for transaction in part:
            connection.execute("BEGIN")
            step.take([transaction])
            write(models, step, rows)
            connection.execute("COMMIT")
    models.give_back(replica)
    return rows


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_snapshot_takes_the_place_of_what_is_passed_over(model: ReadModel) -> None:
    models = Models((model,))
    passed_over = 0
    for seed in range(FIRST, FIRST + RUNS):
        rng = Random(seed)
        commits = history(rng, models.tables, 24)
        until, at = sorted((rng.randrange(len(commits)), rng.randrange(len(commits))))
        state, lsn = commits[at].state, commits[at].end
        events = tuple(Event(t, "r", after=row) for t in models.tables for row in state[t.name].values())
        snapshot = Commit("snapshot", events, state, lsn, lsn, (lsn,) * len(events))
        rest = [snapshot, *commits[at + 1 :]]
        anew = Anew(0, models.program)
        got = tables(models, [transactions(commits[:until]), transactions(rest, anew)])
        assert got == tables(models, [transactions(commits)]), f"seed {seed}"
        passed_over += at - until
    assert passed_over
