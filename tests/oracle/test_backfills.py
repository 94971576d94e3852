"""A fill writes every row of a read model, whatever else changes meanwhile and wherever a crash comes.

What is compared: the rows that all writes since the fill began leave behind, and those that all writes ever leave. Rows are
written whole, so that these are the values of a column which the table got when the fill began.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from projections.read_model import ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.compile.program import compile_models
from projector.replica.backfill import Backfills
from projector.replica.schema import open_replica
from tests.oracle.history import history
from tests.oracle.log import records
from tests.oracle.views import MODELS
from tests.oracle.world import Models

RUNS = 12 * int(os.environ.get("LOCKSTEP_ORACLE_RUNS", "1"))
FIRST = int(os.environ.get("LOCKSTEP_ORACLE_SEED", "0"))


class Tables:
    """What all writes leave, and those since a fill began."""

    def __init__(self, model: ReadModel) -> None:
        self._width = len(model.key)
        self.ever: dict[tuple[object, ...], tuple[object, ...]] = {}
        self.since: dict[tuple[object, ...], tuple[object, ...]] = {}

    def write(self, models: Models, step: Step) -> None:
        """What a batch or a slice comes to."""
        (program,) = models.program.models
        for rows in step.present(program):
            for row in rows:
                self.ever[row[: self._width]] = self.since[row[: self._width]] = row
        for keys in step.absent(program):
            for key in keys:
                self.ever.pop(key, None)
                self.since.pop(key, None)


def transactions(rng: Random, models: Models) -> list[Transaction]:
    """A random history as a worker reads it."""
    log = records(history(rng, models.tables, 24))
    return [
        found
        for found in Assembler(0).feed((at, entry.value) for at, entry in enumerate(log))
        if isinstance(found, Transaction)
    ]


def live(rng: Random, models: Models) -> Tables:
    """A fill of small slices in the middle of a history, with crashes; the tables at the end of both."""
    (model,) = models.models
    left = transactions(rng, models)
    tables = Tables(model)
    connection, step = replica = models.replica()
    step.reset()
    begin = rng.randrange(1, len(left)) if len(left) > 1 else 0
    rolled_back: list[Transaction] = []
    for number in range(begin):
        connection.execute("BEGIN")
        step.take([left[number]])
        tables.write(models, step)
        connection.execute("COMMIT")
    left = left[begin:]
    connection.execute("BEGIN")
    step.backfills.begin(model.name, ("added",))
    connection.execute("COMMIT")
    tables.since.clear()
    while left or step.backfills.open:
        connection.execute("BEGIN")
        if left and (not step.backfills.open or rng.random() < 0.4):
            rolled_back.append(left.pop(0))
            step.take([rolled_back[-1]])
        else:
            step.slice(rng.choice((1, 2, 7)))
        tables.write(models, step)
        if rng.random() < 0.2:
            connection.execute("ROLLBACK")
            step.reset()
            step.backfills = Backfills(connection, models.program)
            step.backfills.begin(model.name, ("added",)) if step.backfills.open else None
            left = rolled_back + left
        else:
            connection.execute("COMMIT")
        rolled_back = []
    models.give_back(replica)
    return tables


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_fill_writes_every_row(model: ReadModel) -> None:
    models = Models((model,))
    rows = 0
    for seed in range(FIRST, FIRST + RUNS):
        tables = live(Random(seed), models)
        assert tables.since == tables.ever, f"seed {seed}"
        rows += len(tables.ever)
    assert rows, "no life had rows"


def test_a_fill_of_other_columns_begins_anew() -> None:
    model = MODELS[0]
    program = compile_models((model,))
    backfills = Backfills(open_replica(None, program, "log"), program)
    backfills.begin(model.name, ("a",))
    first = dict(backfills.open)
    backfills.begin(model.name, ("a",))
    assert backfills.open == first
    backfills.begin(model.name, ("a", "b"))
    assert list(backfills.work(5)) == [(model.name, 0)]
    assert not backfills.open
