"""``make bench``: every figure on one stack, printed as a table and written to ``.local/bench.json`` (name to number).

Uses the servers that LOCKSTEP_TEST_… name, or starts the embedded ones, and warms these up. ``python -m tests.bench
relay lag`` measures a part. Figures are medians where a part has rounds; the machine's noise is in them, so compare
ratios of one run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from command_api.process.logging import configure_logging
from command_api.process.settings import Cassandra, Kafka, Postgres, Settings
from tests.bench import (
    aggregates,
    debezium,
    fallback,
    fan_out,
    http,
    lag,
    messages,
    projector,
    reads,
    rebuild,
    relay,
    rename,
    sales,
    streams,
    timeline,
    verify,
    writer,
)

TARGETS = {
    "projector_vs_driver": "≥ 1.3",
    "projector_vs_concurrent": "≥ 6",
    "projector_cpu_s_per_100k": "≤ 2.5",
    "rebuild_vs_driver": "≥ 0.7",
    "maintain_changes_per_s": "≥ 60,000",
    "relay_changes_per_s": "≥ 80,000",
    "relay_single_changes_per_s": "≥ 50,000",
    "relay_cpu_s_per_100k": "≤ 1.5",
    "relay_over_debezium_per_cpu_s": "≥ 8",
    "relay_over_debezium_p50": "≤ 0.25",
    "lag_p50_ms": "≤ 6",
    "lag_p99_ms": "≤ 40",
    "projector_rss_mb": "≤ 250",
    "growth_ratio": "≥ 0.85",
    "aggregate_changes_per_s": "≥ 60,000",
    "aggregate_hot_over_cold": "≥ 0.7",
    "aggregate_group_cost_ratio": "0.67 to 1.5",
    "product_page_read_p50_ms": "≤ 2",
    "product_page_speedup": "≥ 50",
    "lag_p99_during_rename_over_quiet": "≤ 2",
    "sales_month_read_p50_ms": "< 10",
    "message_insert_p99_ms": "≤ 5",
    "timeline_read_p50_ms": "≤ 1.8",
    "timeline_merge_p50_ms": "≤ 10",
    "fanout_over_driver": "≤ 1",
    "read_overhead_ms": "≤ 0.8",
    "sse_delay_over_lag_p50_ms": "≤ 5",
    "read_http_rps": "≥ 1,500",
    "token_wait_over_lag_p50_ms": "≤ 5",
    "verify_rows_per_s": "",
    "verify_rss_growth_mb": "",
}
PARTS: dict[str, Callable[[Settings], dict[str, float]]] = {
    "relay": relay.measure,
    "debezium": debezium.measure,
    "writer": writer.measure,
    "projector": projector.measure,
    "rebuild": rebuild.measure,
    "lag": lag.measure,
    "aggregates": aggregates.measure,
    "reads": reads.measure,
    "sales": sales.measure,
    "verify": verify.measure,
    "rename": rename.measure,
    "fallback": fallback.measure,
    "http": http.measure,
    "streams": streams.measure,
    "messages": messages.measure,
    "timeline": timeline.measure,
    "fan_out": fan_out.measure,
}


@contextmanager
def _settings() -> Iterator[Settings]:
    given = [os.environ.get(f"LOCKSTEP_TEST_{name}", "") for name in ("POSTGRES", "KAFKA", "CASSANDRA")]
    if all(given):
        yield _for(*given)
        return
    from deploy.local.plan import SERVERS
    from deploy.local.stack import Options, start

    with start(Options(folder=Path(".local/bench"), only=SERVERS, throw_away=True)) as running:
        settings = _for(running.postgres_admin, running.address("kafka"), running.address("cassandra"))
        Console().print("warming the servers up: two minutes …")
        lag.warm_up(settings)
        yield settings


def _for(postgres: str, kafka: str, cassandra: str) -> Settings:
    host, _, port = cassandra.rpartition(":")
    conninfo = dict.fromkeys(("admin", "relay", "reader", "command_api"), postgres)
    return Settings(
        postgres=Postgres.model_validate(conninfo),
        kafka=Kafka(bootstrap_servers=kafka),
        cassandra=Cassandra(contact_points=(host,), port=int(port), keyspace="bench"),
    )


def main() -> None:
    """Measure what the arguments name, or everything."""
    configure_logging()
    chosen = sys.argv[1:] or list(PARTS)
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    path = Path(".local/bench.json")
    figures: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    console = Console()
    with _settings() as settings:
        for name in chosen:
            console.print(f"measuring {name} …")
            figures |= PARTS[name](settings)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    table = Table("figure", "measured", "to reach")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}", TARGETS.get(name, ""))
    console.print(table)


if __name__ == "__main__":
    main()
