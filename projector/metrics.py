"""What a worker exports: freshness, work done and trouble, per worker and per read model.

Gauges that speak of now (lag) are computed when they are scraped.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 5, 10, 30, 60, 300)


class WorkerMetrics:
    """The metrics of one worker; `registry` is what the endpoint serves."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        model = ("read_model",)
        self.covered_lsn = Gauge(
            "projection_covered_lsn", "Log position that the read model covers, bytes", model, registry=registry
        )
        self.lag_seconds = Gauge(
            "projection_lag_seconds",
            "Now minus the commit time of the last covered transaction; 0 at the log's end",
            model,
            registry=registry,
        )
        self.lag_bytes = Gauge(
            "projection_lag_bytes",
            "LSN bytes between the newest record seen and the position",
            model,
            registry=registry,
        )
        self.lag_records = Gauge("projection_lag_records", "Log records after the position", registry=registry)
        self.written = Counter("projection_rows_written", "Rows written", model, registry=registry)
        self.deleted = Counter("projection_rows_deleted", "Rows deleted", model, registry=registry)
        self.touched = Counter("projection_keys_touched", "Keys recomputed", model, registry=registry)
        self.truncated = Counter(
            "projection_documents_truncated",
            "Rows written with a document that was cut at its bound",
            model,
            registry=registry,
        )
        self.changes = Counter("projection_source_changes", "Changes read from the log", registry=registry)
        self.transactions = Counter("projection_transactions", "Transactions applied", registry=registry)
        self.amplification = Gauge(
            "projection_write_amplification",
            "Derived writes over source changes since the start",
            model,
            registry=registry,
        )
        self.commit_to_written = Histogram(
            "projection_commit_to_written_seconds",
            "Commit in Postgres to acknowledgement by Cassandra",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_changes = Histogram(
            "projection_batch_changes",
            "Changes in a batch",
            buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000),
            registry=registry,
        )
        self.phase_seconds = Histogram(
            "projection_phase_seconds", "Duration of a batch's phases", ("phase",), buckets=_SECONDS, registry=registry
        )
        self.retries = Counter(
            "projection_retries", "Batches that Cassandra did not take at once", ("kind",), registry=registry
        )
        self.sliced = Counter(
            "projection_sliced_keys",
            "Keys recomputed because a change of their parent was put aside",
            model,
            registry=registry,
        )
        self.put_aside_changes = Gauge(
            "projection_put_aside_changes", "Changes that fan out and are being worked off", model, registry=registry
        )
        self.put_aside_keys = Gauge(
            "projection_put_aside_keys", "Keys that those changes have left", model, registry=registry
        )
        self.put_aside_seconds = Gauge(
            "projection_put_aside_seconds",
            "Time they need at the present rate; NaN until it is known",
            model,
            registry=registry,
        )
        self.backfill_left = Gauge(
            "projection_backfill_rows_left",
            "Source rows, or groups, that a fill of added columns has still to go through",
            model,
            registry=registry,
        )
        self.hot_authors = Gauge(
            "projection_feed_hot_authors",
            "Authors of a feed whose entries are merged when it is read",
            model,
            registry=registry,
        )
        self.feed_flips = Counter(
            "projection_feed_flips",
            "Authors of a feed who became hot (to=hot), or whose entries are copied again (to=copied)",
            ("read_model", "to"),
            registry=registry,
        )
        self.feed_flips_under_way = Gauge(
            "projection_feed_flips_under_way",
            "Authors of a feed whose copies are being deleted, or written again",
            model,
            registry=registry,
        )
        self.skipped_writes = Counter(
            "projection_skipped_writes",
            "Rows of a feed that were not written, because nobody has seen their reader for a while",
            model,
            registry=registry,
        )
        self.inactive_readers = Gauge(
            "projection_inactive_readers", "Readers of a feed who get no rows now", model, registry=registry
        )
        self.rebuilt_partitions = Counter(
            "projection_rebuilt_partitions",
            "Partitions of a feed that were written anew for a reader who is back",
            model,
            registry=registry,
        )
        self.trims = Counter(
            "projection_trims",
            "Partitions of a feed cut back to its cap by a range tombstone",
            model,
            registry=registry,
        )
        self.budget_pending = Gauge(
            "projection_budget_pending_keys",
            "Keys that wait as long as a column's budget allows",
            model,
            registry=registry,
        )
        self.budget_saved = Counter(
            "projection_budget_saved_writes",
            "Writes that were not needed because a budget put several changes into one",
            model,
            registry=registry,
        )
        self.repaired = Counter(
            "projection_repaired_keys", "Keys written because a repair asked for it", model, registry=registry
        )
        self.refused_requests = Counter(
            "projection_refused_requests", "Requests in the log that could not be carried out", registry=registry
        )
        self.rebuilds = Counter("projection_replica_rebuilds", "Replicas set aside and built anew", registry=registry)
        self.drift_rows = Gauge(
            "projection_drift_rows", "Rows that the last verification found different", model, registry=registry
        )
        self.verified_at = Gauge(
            "projection_verified_timestamp_seconds", "Unix time of the last verification", model, registry=registry
        )
        self.dead_letters = Gauge(
            "projection_dead_letters", "Rows that Cassandra refuses: marked, and not written", model, registry=registry
        )
        self.last_error = Gauge(
            "projection_last_error_timestamp_seconds", "Unix time of the last error", registry=registry
        )

    def put_aside(self, model: str, changes: int, keys: int, seconds: float, pending: int = 0) -> None:
        """Set what a read model has put aside. pending: keys that wait for the time of a column's budget."""
        self.budget_pending.labels(model).set(pending)
        self.put_aside_changes.labels(model).set(changes)
        self.put_aside_keys.labels(model).set(keys)
        self.put_aside_seconds.labels(model).set(seconds)

    def failed(self) -> None:
        """Note an error."""
        self.last_error.set(time.time())

    def retried(self, kind: str) -> None:
        """Note a batch that is sent again."""
        self.retries.labels(kind=kind).inc()
        self.failed()
