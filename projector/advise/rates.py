"""What this machine does, from `make bench`'s file, and what readers ask, from the read API's metrics.

Not promised: that another machine does the same. The figures of the file were taken with servers, load and worker on one
machine, so they are low; `Rates.origin` says in the report where each is from.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from projector.advise.capacity import Rates
from projector.configured import ConfigurationError

BENCH = Path(".local/bench.json")
_REQUESTS = "read_api_request_seconds_count"
_TIMEOUT_S = 5.0
_ROWS = ("fanout_rows_per_s", "rename_rows_per_s", "projector_rows_per_s")
_ASSUMED_ROWS = 15_000.0
_ASSUMED_CASSANDRA_CPU = 6.5  # seconds of a core for 100,000 rows
_ASSUMED_PULL_S = 0.000_5


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the command line says instead; None takes what was measured. node_cores: of one Cassandra node."""

    worker_rows_per_s: float | None = None
    node_writes_per_s: float | None = None
    node_cores: int = 8


def rates(figures: Mapping[str, float], given: Given) -> Rates:
    """Rates from the figures of a bench run, where they have them."""
    measured = next((name for name in _ROWS if name in figures), None)
    rows = given.worker_rows_per_s or (figures[measured] if measured else _ASSUMED_ROWS)
    cpu = figures.get("cassandra_cpu_s_per_100k")
    writes = given.node_writes_per_s or given.node_cores * 100_000 / (cpu or _ASSUMED_CASSANDRA_CPU)
    merged = figures.get("timeline_merge_p50_ms"), figures.get("timeline_read_p50_ms")
    pull = (merged[0] - merged[1]) / 20 / 1_000 if merged[0] and merged[1] else 0.0  # a merge of 20 hot authors
    origin = [
        "worker: " + ("given" if given.worker_rows_per_s else f"measured ({measured})" if measured else "assumed"),
        "node: "
        + (
            "given"
            if given.node_writes_per_s
            else f"{given.node_cores} cores, {'measured' if cpu else 'assumed'} CPU a row"
        ),
    ]
    return Rates(
        worker_rows_per_s=rows,
        node_writes_per_s=writes,
        pull_s=pull if pull > 0 else _ASSUMED_PULL_S,
        origin="; ".join(origin),
    )


def bench_figures(path: Path) -> dict[str, float]:
    """Name to number; empty when there is no such file. Raises ConfigurationError for a file that is none of bench's."""
    try:
        found = json.loads(path.read_text())
        return {str(name): float(value) for name, value in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"{path} is not what `make bench` writes: {error}") from error


def requests(text: str) -> dict[str, float]:
    """Requests answered so far, by read model, from the read API's metrics."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _REQUESTS:
                found[sample.labels["model"]] = found.get(sample.labels["model"], 0.0) + sample.value
    return found


def pages_per_s(url: str, seconds: float, sleep: Callable[[float], None] = time.sleep) -> dict[str, float]:
    """Requests a second by read model, between two looks at a metrics address. Raises ConfigurationError."""
    began, first = time.monotonic(), requests(_fetch(url))
    sleep(seconds)
    after = requests(_fetch(url))
    passed = time.monotonic() - began
    return {model: max(0.0, count - first.get(model, 0.0)) / passed for model, count in after.items()}


def _fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - an operator's own address
            text: str = reply.read().decode()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--metrics {url}: {error}") from error
    return text
