"""What the read API counts. One registry an application, so that two in a process do not mix."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from read_api.freshness import NOTHING, Position

CONTENT_TYPE = CONTENT_TYPE_LATEST
NO_MODEL = "none"  # a request for no known model: its name is a client's text and must not become a label

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)


class Metrics:
    """Counters by read model."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "read_api_request_seconds",
            "Requests by read model and status, from the parsed head to the encoded reply",
            ["model", "status"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.rows = Counter("read_api_rows", "Rows sent, by read model", ["model"], registry=self.registry)
        self.lag = Gauge(
            "read_api_lag_seconds", "Lag of the last reply, by read model", ["model"], registry=self.registry
        )
        self.model_lag = Gauge(
            "read_api_model_lag_seconds",
            "Now minus the commit time of what the read model covers, as this process knows it; none before anything is",
            ["read_model"],
            registry=self.registry,
        )
        self.model_covered = Gauge(
            "read_api_model_covered_lsn",
            "Log position that the read model covers",
            ["read_model"],
            registry=self.registry,
        )
        # What each reply counts, found by name once: the client's own look-up takes longer than the counting.
        self._answered: dict[tuple[str, int], Histogram] = {}
        self._sent: dict[str, Counter] = {}
        self._lags: dict[str, Gauge] = {}
        self._positions: Mapping[str, Position] = {}
        self.waits = Histogram(
            "read_api_token_wait_seconds",
            "Time that requests waited for their token, by read model; those that did not wait are not counted",
            ["model"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.timeouts = Counter(
            "read_api_token_timeouts", "Tokens not covered within the bound", ["model"], registry=self.registry
        )

        self.streams = Gauge(
            "read_api_streams", "Streams of changes that are open, by read model", ["model"], registry=self.registry
        )
        self.stream_events = Counter("read_api_stream_events", "Events sent on them", ["model"], registry=self.registry)
        self.streams_shed = Counter(
            "read_api_streams_shed",
            "Streams ended because their client took nothing",
            ["model"],
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "read_api_fallbacks",
            "Reads that Postgres answered because their token was not covered in time",
            ["read_model"],
            registry=self.registry,
        )
        self.fallback_seconds = Histogram(
            "read_api_fallback_seconds",
            "Time that Postgres took for them, with the wait for a connection",
            ["read_model"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.fallbacks_refused = Counter(
            "read_api_fallbacks_refused",
            "Reads that Postgres was to answer and did not: away, too slow, or as many at once as allowed",
            ["read_model"],
            registry=self.registry,
        )

    def covers(self, positions: Mapping[str, Position]) -> None:
        """Remember positions: from then on their lag is that of the moment of the scrape, also while no newer can be read."""
        self._positions = positions
        for name, position in positions.items():
            if position.committed_at is not None:
                self.model_lag.labels(name).set_function(lambda name=name: self._lag(name))  # type: ignore[misc]
                self.model_covered.labels(name).set(position.lsn)

    def _lag(self, name: str) -> float:
        lag = self._positions.get(name, NOTHING).lag_seconds()
        return float("nan") if lag is None else lag

    def waited(self, model: str, seconds: float, covered: bool) -> None:
        """A request of `model` waited for its token; `covered` is False when the bound came first."""
        self.waits.labels(model).observe(seconds)
        if not covered:
            self.timeouts.labels(model).inc()

    def fell_back(self, model: str, seconds: float, answered: bool) -> None:
        """Postgres was asked; `answered` is False when the reply is the problem that there was before."""
        if answered:
            self.fallbacks.labels(model).inc()
            self.fallback_seconds.labels(model).observe(seconds)
        else:
            self.fallbacks_refused.labels(model).inc()

    def answered(self, model: str, status: int, seconds: float) -> None:
        """A request of a read model, or of `NO_MODEL`, has its reply."""
        known = self._answered.get((model, status))
        if known is None:
            known = self._answered[model, status] = self.requests.labels(model, status)
        known.observe(seconds)

    def replied(self, model: str, rows: int, lag_seconds: float | None) -> None:
        """A reply with rows."""
        sent = self._sent.get(model)
        if sent is None:
            sent = self._sent[model] = self.rows.labels(model)
        sent.inc(rows)
        if lag_seconds is not None:
            lag = self._lags.get(model)
            if lag is None:
                lag = self._lags[model] = self.lag.labels(model)
            lag.set(lag_seconds)

    def exposition(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)
