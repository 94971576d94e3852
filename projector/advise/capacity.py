"""What a scale needs: writes a second, workers, Cassandra nodes, storage. Pure.

    2,000 posts/s * 300 followers * 3 replicas = 1,800,000 writes/s

A worker writes rows once; Cassandra writes each of them on every replica. Both are planned at a share of what was
measured (`Rates.load`), so that compaction, repair and a lost node find room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SECONDS_A_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one machine does.

    worker_rows_per_s: rows that a worker writes. node_writes_per_s: replica writes that a Cassandra node takes.
    pull_s: seconds of merging one more author into a page. load: the share of these that is planned with.
    origin: where they are from, for the reader of the report.
    """

    worker_rows_per_s: float
    node_writes_per_s: float
    pull_s: float
    load: float = 0.5
    origin: str = "given"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Entries a second, the mean number of followers, copies of each row in Cassandra, payload of a row."""

    posts_per_s: float
    followers: float
    replicas: int
    row_bytes: float | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """rows_per_s: by workers. writes_per_s: by Cassandra's nodes. bytes_a_day: payload on all replicas, uncompressed."""

    rows_per_s: float
    writes_per_s: float
    workers: int
    nodes: int
    bytes_a_day: float | None


def need(scale: Scale, rates: Rates) -> Need:
    """What a scale needs; never fewer nodes than replicas."""
    rows = scale.posts_per_s * scale.followers
    writes = rows * scale.replicas
    return Need(
        rows_per_s=rows,
        writes_per_s=writes,
        workers=max(1, math.ceil(rows / (rates.worker_rows_per_s * rates.load))),
        nodes=max(scale.replicas, math.ceil(writes / (rates.node_writes_per_s * rates.load))),
        bytes_a_day=None if scale.row_bytes is None else writes * scale.row_bytes * SECONDS_A_DAY,
    )
