"""What ``/metrics`` and ``/readyz`` say. The loop only adds to plain numbers; everything else happens when scraped.

`SlotSampler` asks Postgres twice a second what the slot retains and what is flushed, on its own thread and connection, so
that the figures stay true while the loop waits for Kafka, and the loop waits for nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from command_api.process.probes import Probes
from command_api.relay.catalog import Catalog
from command_api.relay.errors import RelayError

SAMPLE_S: Final = 0.5
STUCK_S: Final = 5.0  # without a turn of the loop, or an acknowledgement of Kafka that is due


@dataclass
class RelayState:
    """What the loop has done so far. LSNs in bytes, times in seconds since 1970; `behind_since` is 0 when caught up.

    turned_at, waiting_since, asked_at: on the monotonic clock; the last is of a request to Postgres without a sign since.
    flushed: an LSN that Postgres had flushed, and when, microseconds since 1970: whatever committed by then ends at or below it.
    """

    received: int = 0
    published: int = 0
    confirmed: int = 0
    records: int = 0
    changes: int = 0
    transactions: int = 0
    heartbeats: int = 0
    outstanding: int = 0
    sessions: int = 0
    errors: int = 0
    last_error_at: float = 0.0
    last_error: str = ""
    streaming: bool = False
    behind_since: float = 0.0
    slot_retained: int = 0
    turned_at: float = 0.0
    waiting_since: float = 0.0
    asked_at: float = 0.0
    flushed: tuple[int, int] = (0, 0)

    def turned(self, confirmed: int, outstanding: int) -> None:
        """A turn of the loop: what Kafka has acknowledged, and how many records it has not."""
        now = time.monotonic()
        if not outstanding or confirmed != self.confirmed:
            self.waiting_since = 0.0
        elif not self.waiting_since:
            self.waiting_since = now
        self.confirmed, self.outstanding, self.turned_at = confirmed, outstanding, now

    def reason(self) -> str:
        """Why changes do not reach the log now; empty when they do."""
        now = time.monotonic()
        if not self.streaming:
            return f"not streaming: {self.last_error or 'starting'}"
        if self.waiting_since and now - self.waiting_since > STUCK_S:
            return (
                f"Kafka has acknowledged nothing for {now - self.waiting_since:.0f} s, {self.outstanding} records wait"
            )
        if self.asked_at and now - self.asked_at > STUCK_S:
            return f"Postgres has given no sign for {now - self.asked_at:.0f} s after it was asked for one"
        if self.turned_at and now - self.turned_at > STUCK_S:
            return f"the loop has not turned for {now - self.turned_at:.0f} s"
        return ""

    @property
    def lag_s(self) -> float:
        """Seconds since the commit of the last transaction published, 0 when nothing waits."""
        return max(0.0, time.time() - self.behind_since) if self.behind_since else 0.0


_GAUGES: Final = (
    ("received_lsn", "received", "Position that the stream has reached, bytes"),
    ("published_lsn", "published", "Position handed to Kafka, bytes"),
    ("confirmed_lsn", "confirmed", "Position that Kafka has acknowledged and Postgres may forget, bytes"),
    ("outstanding_records", "outstanding", "Records that Kafka has not acknowledged"),
    ("slot_retained_bytes", "slot_retained", "WAL that Postgres keeps for the slot"),
    ("last_error_timestamp_seconds", "last_error_at", "When the last error happened, 0 for never"),
    ("lag_seconds", "lag_s", "Age of the commit that is being published, 0 when caught up"),
    ("streaming", "streaming", "1 while a replication stream is open"),
)
_COUNTERS: Final = (
    ("records", "records", "Records published, BEGIN, END and heartbeats included"),
    ("changes", "changes", "Row changes published"),
    ("transactions", "transactions", "Transactions published"),
    ("heartbeats", "heartbeats", "Heartbeats published"),
    ("sessions", "sessions", "Streams opened; all but the first are reconnects"),
    ("errors", "errors", "Errors that ended a stream"),
)


class RelayCollector(Collector):
    """Turns the state into metrics when it is scraped."""

    def __init__(self, state: RelayState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """All gauges, then all counters."""
        for name, attribute, help_ in _GAUGES:
            yield GaugeMetricFamily(f"relay_{name}", help_, value=float(getattr(self._state, attribute)))
        for name, attribute, help_ in _COUNTERS:
            yield CounterMetricFamily(f"relay_{name}", help_, value=float(getattr(self._state, attribute)))


def served(state: RelayState, host: str, port: int) -> Probes:
    """``/metrics``, ``/healthz`` and ``/readyz`` of a relay; raises OSError."""
    registry = CollectorRegistry()
    registry.register(RelayCollector(state))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return Probes(registry, state.reason, host, port)


class SlotSampler:
    """Keeps `state.slot_retained` and `state.flushed` true; a database that is away is the loop's to report."""

    def __init__(self, state: RelayState, conninfo: str, slot: str) -> None:
        self._state, self._conninfo, self._slot = state, conninfo, slot
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay-slot", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with Catalog(self._conninfo) as catalog:
                    while True:
                        slot = catalog.slot(self._slot)
                        self._state.slot_retained = slot.retained if slot else 0
                        self._state.flushed = catalog.flushed()
                        if self._stop.wait(SAMPLE_S):
                            return
            except RelayError:
                self._stop.wait(SAMPLE_S)

    def close(self) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join(15)
