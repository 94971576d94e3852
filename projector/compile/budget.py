"""Which joins a budget lets wait: those that give columns with a budget and nothing else of a read model's row.

A change of such a join alone neither makes, moves nor removes a row, so the keys that it reaches are still there when
they are touched later, or were touched by what took them away. A column whose budget can't be kept this way is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from projector.compile.errors import RefusedError
from projector.compile.relation import Grouped, Occurrence

if TYPE_CHECKING:
    from projector.compile.analyse import Analysis


def budgets(analysis: Analysis, always_there: Callable[[Occurrence], bool]) -> dict[int, timedelta]:
    """How long the changes of an occurrence may wait, of those that may; raises RefusedError for a column.

    always_there: whether an inner join finds the one row that a foreign key promises.
    """
    found: dict[int, timedelta] = {}
    for output in analysis.outputs:
        budget = analysis.model.budgets.get(output.name)
        if budget is None:
            continue
        read = output.expression.occurrences()
        if not read:
            raise RefusedError(f"the budget of column {output.name}", "the column never changes: leave its budget out")
        for index in sorted(read):
            occurrence = analysis.occurrences[index]
            reason = _inseparable(analysis, occurrence, always_there)
            if reason is not None:
                raise RefusedError(f"the budget of column {output.name}", f"{_words(occurrence)} {reason}")
            found[index] = min(budget, found.get(index, budget))
    return found


def _inseparable(analysis: Analysis, occurrence: Occurrence, always_there: Callable[[Occurrence], bool]) -> str | None:
    """Why a change of an occurrence can't wait for a column's budget; None when it can."""
    index = occurrence.index
    for output in analysis.outputs:
        if index not in output.expression.occurrences():
            continue
        if output.name in analysis.model.key:
            return f"gives the key column {output.name} too: its changes move rows, which can't wait"
        if output.name not in analysis.model.budgets:
            return f"gives the column {output.name} too, which is not to wait: give both a budget or neither"
    if not occurrence.optional and not always_there(occurrence):
        return "decides whether there is a row: take the column from a left join or a subquery"
    if occurrence.optional and any(index in term.occurrences() for term in analysis.where):
        return "stands in a condition on the rows, which can't wait: leave out the condition or the budget"
    if any(index in term.occurrences() for o in analysis.occurrences if o.index != index for term in o.on):
        return "finds the rows of another join, which can't wait: leave out the budget"
    return None


def _words(occurrence: Occurrence) -> str:
    if isinstance(occurrence.table, Grouped):
        return "the group of " + ", ".join(o.table.name for o in occurrence.table.occurrences)
    return str(occurrence.table.fullname)
