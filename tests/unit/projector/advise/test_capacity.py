"""What a scale needs, and where the rates are from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from projector.advise.amplified import amplified
from projector.advise.capacity import Rates, Scale, need
from projector.advise.rates import Given, bench_figures, rates, requests
from projector.advise.report import scale_lines
from projector.configured import ConfigurationError
from read_api.metrics import Metrics

RATES = Rates(worker_rows_per_s=20_000, node_writes_per_s=100_000, pull_s=0.001, load=0.5)
PUBLISHED = Scale(posts_per_s=2_000, followers=300, replicas=3)


def test_the_published_scale() -> None:
    found = need(PUBLISHED, RATES)
    assert (found.rows_per_s, found.writes_per_s, found.workers, found.nodes) == (600_000, 1_800_000, 60, 36)
    lines = list(scale_lines(PUBLISHED, found, RATES))
    assert lines[0] == "2,000 posts/s * 300 followers * 3 replicas = 1,800,000 writes/s"
    assert "workers: 60" in lines[2]


def test_a_small_scale_needs_a_worker_and_a_node_a_replica() -> None:
    found = need(Scale(posts_per_s=0.1, followers=3, replicas=3, row_bytes=100), RATES)
    assert (found.workers, found.nodes) == (1, 3)
    assert found.bytes_a_day == pytest.approx(0.9 * 100 * 86_400)


def test_rates_are_measured_given_or_assumed() -> None:
    measured = rates({"rename_rows_per_s": 14_000, "cassandra_cpu_s_per_100k": 5.0}, Given(node_cores=4))
    assert (measured.worker_rows_per_s, measured.node_writes_per_s) == (14_000, 80_000)
    assert measured.origin == "worker: measured (rename_rows_per_s); node: 4 cores, measured CPU a row"
    assert rates({"fanout_rows_per_s": 9, "rename_rows_per_s": 8}, Given()).worker_rows_per_s == 9
    given = rates({}, Given(worker_rows_per_s=7, node_writes_per_s=6))
    assert (given.worker_rows_per_s, given.node_writes_per_s, given.origin) == (7, 6, "worker: given; node: given")
    assert "assumed" in rates({}, Given()).origin
    merge = rates({"timeline_merge_p50_ms": 11.0, "timeline_read_p50_ms": 1.0}, Given())
    assert merge.pull_s == pytest.approx(0.000_5)


def test_figures_are_benchs_file(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert bench_figures(path) == {}
    path.write_text(json.dumps({"rename_rows_per_s": 1}))
    assert bench_figures(path) == {"rename_rows_per_s": 1.0}
    path.write_text("[]")
    with pytest.raises(ConfigurationError, match="make bench"):
        bench_figures(path)


def test_requests_are_the_read_apis() -> None:
    metrics = Metrics()
    for model, status in (("home_timeline", "200"), ("home_timeline", "503"), ("post_by_id", "200")):
        metrics.requests.labels(model, status).observe(0.001)
    assert requests(generate_latest(metrics.registry).decode()) == {"home_timeline": 2.0, "post_by_id": 1.0}


def test_rows_that_reach_none_count_too() -> None:
    found = amplified("users", "a join", [(3, 5), (2_000, 1), (None, 100)], changes_per_s=2.0)
    assert (found.rows, found.p50, found.p99, found.largest, found.fans_out) == (100, 0, 3, 2_000, False)
    assert found.mean == 20.15
    assert found.writes_per_s == 40.3
    assert amplified("t", "a join", [(None, 0)], None).writes_per_s is None
    assert amplified("t", "a join", [(1_000, 10), (None, 10)], None).fans_out
