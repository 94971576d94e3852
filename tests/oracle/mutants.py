"""The engine with one of its rules broken at a time: each must be caught, or the oracle proves nothing.

``python -m tests.oracle.mutants [conninfo]`` prints how many of N random lives each mutant fails, per view.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from command_api.envelope import Record
from projections.read_model import ReadModel
from projector.apply.consume import Assembler, LogGapError
from projector.apply.step import MaintenanceError
from projector.apply.transaction import Transaction
from projector.compile.program import ModelProgram, Program
from projector.compile.touch import TouchStatement
from projector.replica.values import ValueFormatError
from tests.oracle import adverse_groups as adverse
from tests.oracle import adverse_subqueries as beside
from tests.oracle import group_mutants as broken
from tests.oracle import grouped_views as grouped
from tests.oracle import subquery_views as nested
from tests.oracle import views
from tests.oracle.history import Commit
from tests.oracle.postgres import Reference
from tests.oracle.schema import TABLES
from tests.oracle.simulation import difference
from tests.oracle.world import Models, Rules

Keep = Callable[[ModelProgram, TouchStatement], bool]
_SOURCE = re.compile(r'(main|temp)\."(?:images of )?([^"]+)"\)? AS o(\d+)')


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A rule that is broken.

    models: where it matters. keep: which touch statements are left. groups: what becomes of the groups. rules: the worker's.
    """

    name: str
    models: tuple[ReadModel, ...]
    keep: Keep = lambda model, statement: True
    groups: Callable[[Program], Program] = lambda program: program
    rules: Rules = field(default_factory=Rules)

    def change(self, program: Program) -> Program:
        """The program without the statements that the mutant drops, and with its groups."""
        models = tuple(replace(m, touch=tuple(s for s in m.touch if self.keep(m, s))) for m in program.models)
        return self.groups(replace(program, models=models))


def _imaged(statement: TouchStatement) -> dict[str, int]:
    """How many occurrences of each table are images."""
    found: dict[str, int] = {}
    for place, table, _ in _SOURCE.findall(statement.sql):
        if place == "temp":
            found[table] = found.get(table, 0) + 1
    return found


def _one_side(model: ModelProgram, statement: TouchStatement) -> bool:
    return sum(_imaged(statement).values()) == 1


def _all_at_once(model: ModelProgram, statement: TouchStatement) -> bool:
    uses = [o.table.fullname for o in model.analysis.occurrences]
    return all(count == uses.count(table) for table, count in _imaged(statement).items())


def _no_null_extension(model: ModelProgram, statement: TouchStatement) -> bool:
    present = {int(index) for _, _, index in _SOURCE.findall(statement.sql)}
    optional = {o.index for o in model.analysis.occurrences if o.optional}
    return optional <= present and "NULL" not in statement.sql.partition(" FROM ")[0]


def _no_lost_partner(model: ModelProgram, statement: TouchStatement) -> bool:
    present = {int(index) for _, _, index in _SOURCE.findall(statement.sql)}
    optional = {o.index for o in model.analysis.occurrences if o.optional}
    return not optional <= present or "NULL" not in statement.sql.partition(" FROM ")[0]


class Forgetful(Assembler):
    """Takes every whole transaction for a new one."""

    def _end(self, record: Record, offset: int) -> Transaction | None:
        self._lsn = 0
        return super()._end(record, offset)

    def _check_gap(self, lsn: int, offset: int) -> None:
        """What ends again without having begun again is no gap to it."""


def _row_lsn(commit: Commit) -> int:
    return commit.row_lsns[-1] if commit.row_lsns else commit.end


def _commit_start(commit: Commit) -> int:
    return commit.start


MANY_SIDED = (views.INNER, views.SELF_MANY, views.LINKED, views.TRIANGLE, views.CROSSED)
GROUPED = (grouped.SUMS, grouped.EXTREMES, grouped.DISTINCTS, grouped.OF_PARENT, grouped.SELF_GROUP, grouped.LEFT_ONE)
LEFT_SEVERAL = (grouped.LEFT_MANY, adverse.LEFT_MANY_BOTH_NULL, adverse.ANTI)
MUTANTS: tuple[Mutant, ...] = (
    Mutant(name="none, of rows", models=(*MANY_SIDED, views.LEFT_KEY, views.LEFT_CHAIN, views.SELF, views.MOVING)),
    Mutant(name="none, of groups", models=(*GROUPED, *LEFT_SEVERAL, nested.DOCUMENTS, beside.BESIDE)),
    Mutant(name="images on one side only", models=MANY_SIDED, keep=_one_side),
    Mutant(
        name="all occurrences of a table replaced at once",
        models=(views.SELF_KEY, views.SELF_THRICE, views.LEFT_CHAIN),
        keep=_all_at_once,
    ),
    Mutant(
        name="no null-extended row in touch",
        models=(views.LEFT_KEY, views.LEFT_MAYBE, views.LEFT_CHAIN),
        keep=_no_null_extension,
    ),
    Mutant(
        name="no old key when a partner comes or goes",
        models=(views.LEFT_KEY, views.LEFT_COMPOSITE),
        keep=_no_lost_partner,
    ),
    Mutant(name="the row's LSN as timestamp", models=(views.MOVING, views.INNER), rules=Rules(timestamp_of=_row_lsn)),
    Mutant(
        name="the commit record's start as timestamp",
        models=(views.MOVING, views.PLAIN),
        rules=Rules(timestamp_of=_commit_start),
    ),
    Mutant(
        name="position committed before acknowledgement",
        models=(views.MOVING, views.INNER, grouped.SUMS, grouped.DISTINCTS),
        rules=Rules(early_commit=True),
    ),
    Mutant(
        name="changed columns instead of whole rows", models=(views.PLAIN, views.INNER), rules=Rules(changed_only=True)
    ),
    Mutant(
        name="a repeated log segment applied again",
        models=(views.MOVING, views.INNER, grouped.SUMS),
        rules=Rules(assembler=Forgetful),
    ),
    Mutant(
        name="only groups with a net change are written",
        models=(grouped.SUMS, grouped.OF_PARENT, nested.CORRELATED, nested.DOCUMENTS),
        groups=broken.as_a(broken.OnlyNet),
    ),
    Mutant(
        name="only groups that are there are written",
        models=(grouped.SUMS, grouped.OF_PARENT, nested.WITH_GROUP),
        groups=broken.as_a(broken.OnlyThere),
    ),
    Mutant(
        name="a group without rows stays",
        models=(grouped.SUMS, grouped.EXTREMES, nested.WITH_SOME),
        groups=broken.as_a(broken.Undying),
    ),
    Mutant(
        name="a maximum never falls",
        models=(grouped.EXTREMES, grouped.LEFT_MANY),
        groups=broken.as_a(broken.Ratchet),
    ),
    Mutant(
        name="no difference of both sides at once",
        models=(grouped.OF_PARENT, grouped.MANY, grouped.SELF_GROUP, grouped.LEFT_MANY),
        groups=broken.only(broken.first_order),
    ),
    Mutant(
        name="the null-extended row stays when a partner comes",
        models=(grouped.LEFT_ONE, *LEFT_SEVERAL),
        groups=broken.only(broken.never_lost),
    ),
    Mutant(
        name="no null-extended row in a group",
        models=(grouped.LEFT_ONE, *LEFT_SEVERAL),
        groups=broken.only(broken.never_absent),
    ),
    Mutant(
        name="the null-extended row goes once a partner",
        models=LEFT_SEVERAL,
        groups=broken.each_partner,
    ),
    Mutant(
        name="states within a batch are counted",
        models=(grouped.SUMS, grouped.OF_PARENT),
        groups=broken.counting_between,
    ),
    Mutant(
        name="count(DISTINCT) of repeated values",
        models=(grouped.DISTINCTS, adverse.ACROSS_DISTINCT),
        groups=broken.counting_repeats,
    ),
    Mutant(
        name="conditions on aggregates restrict touch",
        models=(grouped.HAVING, nested.WITH_SOME, nested.WITH_SOME_LEFT, beside.BESIDE),
        groups=broken.trusting,
    ),
)
UNBROKEN = MUTANTS[:2]


def first_failure(mutant: Mutant, reference: Reference, runs: int) -> tuple[str, int] | None:
    """(view, seed) of the first life that the mutant gets wrong."""
    compiled = [Models([model], mutant.change) for model in mutant.models]
    for seed in range(runs):
        for models in compiled:
            if _fails(seed, models, reference, mutant.rules):
                return models.models[0].name, seed
    return None


def failures(mutant: Mutant, reference: Reference, runs: int) -> dict[str, list[int]]:
    """Seeds that fail, by view."""
    found: dict[str, list[int]] = {}
    for model in mutant.models:
        models = Models([model], mutant.change)
        found[model.name] = [seed for seed in range(runs) if _fails(seed, models, reference, mutant.rules)]
        models.close()
    return found


def _fails(seed: int, models: Models, reference: Reference, rules: Rules) -> bool:
    try:
        return difference(Random(seed), models, reference, rules=rules) is not None
    except (ValueFormatError, LogGapError, MaintenanceError):
        return True  # the worker stops: that too is noticed


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    runs = int(os.environ.get("LOCKSTEP_ORACLE_RUNS", "300"))
    reference = Reference(arguments[0] if arguments else os.environ["LOCKSTEP_TEST_POSTGRES"], TABLES, views.MODELS)
    for mutant in MUTANTS:
        counts = {name: len(seeds) for name, seeds in failures(mutant, reference, runs).items()}
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        print(f"{mutant.name:48} {sum(counts.values()):5} of {runs * len(counts):5}   {shown}")


if __name__ == "__main__":
    main(sys.argv[1:])
