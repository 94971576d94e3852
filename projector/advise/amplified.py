"""How many rows of a read model a change of one source row rewrites: p50, p99 and the most, over all rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST = 1_000
"""A p99 from which on a change counts as a fan-out, to be thought about."""


@dataclass(frozen=True, kw_only=True)
class Amplified:
    """What a source table's rows reach in a read model.

    via: how. rows: of the table. mean, p50, p99, largest: rows reached by one. changes_per_s: of the table, since its
    statistics begin; None when they don't tell.
    """

    table: str
    via: str
    rows: int
    mean: float
    p50: int
    p99: int
    largest: int
    changes_per_s: float | None = None

    @property
    def writes_per_s(self) -> float | None:
        """Rows rewritten a second, when every row is as likely to change."""
        return None if self.changes_per_s is None else self.changes_per_s * self.mean

    @property
    def fans_out(self) -> bool:
        """Whether its p99 is beyond what one batch should write."""
        return self.p99 >= MOST


def amplified(
    table: str, via: str, histogram: Iterable[tuple[int | None, int]], changes_per_s: float | None
) -> Amplified:
    """From (rows reached, source rows) of the rows that reach any, and (None, all source rows)."""
    found: dict[int, int] = {}
    total = 0
    for reached, rows in histogram:
        if reached is None:
            total = rows
        else:
            found[reached] = found.get(reached, 0) + rows
    found[0] = found.get(0, 0) + max(0, total - sum(found.values()))
    return Amplified(
        table=table,
        via=via,
        rows=total,
        mean=sum(n * rows for n, rows in found.items()) / total if total else 0.0,
        p50=_percentile(found, 0.5),
        p99=_percentile(found, 0.99),
        largest=max((n for n, rows in found.items() if rows), default=0),
        changes_per_s=changes_per_s,
    )


def _percentile(found: dict[int, int], share: float) -> int:
    wanted, seen = share * sum(found.values()), 0
    for reached in sorted(found):
        seen += found[reached]
        if seen >= wanted:
            return reached
    return 0
