"""What the scheduled process exports, by read model."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from projector.refresh.run import Run

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300, 600, 1_800, 3_600)


class RefreshMetrics:
    """The metrics of one process; `registry` is what the endpoint serves."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._failing: set[str] = set()
        model = ("read_model",)
        self.runs = Counter(
            "projection_refresh_runs",
            "Runs by how they ended: done, failed, or busy when another process had the read model",
            (*model, "outcome"),
            registry=registry,
        )
        self.rows = Counter(
            "projection_refresh_rows",
            "Rows of the differences by change: inserted, updated, deleted",
            (*model, "change"),
            registry=registry,
        )
        self.seconds = Histogram(
            "projection_refresh_seconds", "Duration of a run that was done", model, buckets=_SECONDS, registry=registry
        )
        self.failing = Gauge(
            "projection_refresh_failing",
            "1 while the read model's last run failed and its old rows stand, else 0",
            model,
            registry=registry,
        )
        self.succeeded_at = Gauge(
            "projection_refresh_last_success_timestamp_seconds",
            "Unix time of the last run that was done",
            model,
            registry=registry,
        )

    def watch(self, name: str) -> None:
        """Export a read model's zeros before anything has happened."""
        for outcome in ("done", "failed", "busy"):
            self.runs.labels(name, outcome)
        for change in ("inserted", "updated", "deleted"):
            self.rows.labels(name, change)
        self.failing.labels(name).set(0)
        self._failing.discard(name)

    def reason(self) -> str:
        """Why the process can't do its job now: the read models whose last run failed; empty when none did."""
        failing = sorted(self._failing)
        return f"the last run failed, see the log: {', '.join(failing)}" if failing else ""

    def done(self, name: str, run: Run) -> None:
        """Note a run."""
        self.runs.labels(name, "done").inc()
        for change, rows in (("inserted", run.inserted), ("updated", run.updated), ("deleted", run.deleted)):
            self.rows.labels(name, change).inc(rows)
        self.seconds.labels(name).observe(run.seconds)
        self.failing.labels(name).set(0)
        self._failing.discard(name)
        self.succeeded_at.labels(name).set(time.time())

    def failed(self, name: str) -> None:
        """Note a run that was rolled back."""
        self.runs.labels(name, "failed").inc()
        self.failing.labels(name).set(1)
        self._failing.add(name)

    def busy(self, name: str) -> None:
        """Note that another process had the read model."""
        self.runs.labels(name, "busy").inc()
