"""Two samples become the figures that the page shows. Pure.

A figure is None where it was not measured: its process is away, does not export it, or there is nothing yet to take a
difference from. Rates are of counters between two samples; a counter that went down was started anew, which gives none.
Of several workers each writes its share: their counts are added, and the worst of what they say about drift is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from read_api.freshness import NOTHING, Position
from read_api.page.scrape import Scrape

WANTED = (
    "projection_rows_",
    "projection_source_changes",
    "projection_transactions",
    "projection_write_amplification",
    "projection_put_aside_",
    "projection_budget_pending",
    "projection_drift_rows",
    "projection_verified_timestamp",
    "projection_dead_letter",
    "projection_lag_records",
    "relay_",
)
"""What the names of the samples begin with that are used below."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was known at one moment.

    at: seconds since 1970. clock: monotonic seconds. positions: None when they could not be read, `problem` says why.
    """

    at: float
    clock: float
    positions: Mapping[str, Position] | None
    problem: str | None
    workers: Sequence[Scrape]
    relay: Scrape


def pipeline(now: Sample, before: Sample | None) -> dict[str, Any]:
    """The figures of the path as a whole."""
    written = _rate(now, before, _rows)
    # Every worker reads the whole log: the changes are those of one of them.
    changes = _rate(now, before, lambda one: _most(w.total("projection_source_changes_total") for w in one.workers))
    return {
        "changes_per_s": changes,
        "rows_per_s": written,
        "amplification": _sum(w.total("projection_write_amplification") for w in now.workers),
        "lag_records": _most(w.total("projection_lag_records") for w in now.workers),
        "put_aside_changes": _sum(w.total("projection_put_aside_changes") for w in now.workers),
        "put_aside_keys": _sum(w.total("projection_put_aside_keys") for w in now.workers),
        "dead_letters": _sum(w.total("projection_dead_letters") for w in now.workers),
        "retained_bytes": now.relay.total("relay_slot_retained_bytes"),
        "relay_lag_s": now.relay.total("relay_lag_seconds"),
        "streaming": None if (on := now.relay.total("relay_streaming")) is None else bool(on),
        "captured_per_s": _rate(now, before, lambda one: one.relay.total("relay_changes_total")),
    }


def model(name: str, staleness_s: float | None, now: Sample, before: Sample | None) -> dict[str, Any]:
    """The figures of one read model."""
    position = None if now.positions is None else now.positions.get(name, NOTHING)
    lag = None if position is None else position.lag_seconds(round(now.at * 1e6))

    def added(metric: str) -> float | None:
        return _sum(worker.of_model(metric, name) for worker in now.workers)

    def worst(metric: str) -> float | None:
        return _most(worker.of_model(metric, name) for worker in now.workers)

    verified_at = worst("projection_verified_timestamp_seconds") or None
    return {
        "name": name,
        "covered_lsn": None if position is None or position.committed_at is None else str(position.lsn),
        "lag_s": lag,
        "staleness_s": staleness_s,
        "stale": None if lag is None or staleness_s is None else lag > staleness_s,
        "rows_per_s": _rate(now, before, lambda one: _rows(one, name)),
        "amplification": added("projection_write_amplification"),
        "put_aside_changes": added("projection_put_aside_changes"),
        "put_aside_keys": added("projection_put_aside_keys"),
        "put_aside_s": worst("projection_put_aside_seconds") or None,
        "pending_keys": added("projection_budget_pending_keys"),
        "drift_rows": worst("projection_drift_rows") if verified_at else None,
        "verified_at": verified_at,
    }


def sources(now: Sample) -> list[dict[str, Any]]:
    """Where the figures come from, and what is wrong there."""
    return [
        {"name": "Cassandra", "address": None, "problem": now.problem},
        *(
            {"name": one.endpoint.name, "address": one.endpoint.address, "problem": one.problem}
            for one in (*now.workers, now.relay)
        ),
    ]


def _rows(sample: Sample, name: str | None = None) -> float | None:
    metrics = ("projection_rows_written_total", "projection_rows_deleted_total")
    return _sum(
        worker.total(metric) if name is None else worker.of_model(metric, name)
        for worker in sample.workers
        for metric in metrics
    )


def _rate(now: Sample, before: Sample | None, of: Callable[[Sample], float | None]) -> float | None:
    if before is None or now.clock <= before.clock:
        return None
    later, earlier = of(now), of(before)
    if later is None or earlier is None or later < earlier:
        return None
    return (later - earlier) / (now.clock - before.clock)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and isfinite(value)]


def _sum(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) if known else None


def _most(values: Iterable[float | None]) -> float | None:
    return max(_known(values), default=None)
