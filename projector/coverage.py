"""What a worker publishes and exports of how far each read model is covered.

A read model covers the worker's position, or, while keys of it are put aside or wait for a column's budget, the position
before the oldest of those changes. Positions carry their own LSN as timestamp in Cassandra, so one that is published late changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from projector.added import AddedColumns
from projector.cassandra.write import Writer
from projector.metrics import WorkerMetrics
from projector.replica.deferred import Progress


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a worker publishes: the keyspace, the projection's name, the epoch of the source history.

    tables: by read model, the table in Cassandra that the worker writes, where that is a later generation's.
    """

    keyspace: str
    projection: str
    epoch: int
    tables: Mapping[str, str] = field(default_factory=dict)

    def table(self, read_model: str) -> str:
        """The name in Cassandra of a read model's table, whose position it is too."""
        return self.tables.get(read_model, read_model)


class Coverage:
    """The published positions of a worker's read models. put_aside: by read model, as of the last commit."""

    def __init__(
        self, writer: Writer, target: Target, metrics: WorkerMetrics, models: tuple[str, ...], added: AddedColumns
    ) -> None:
        self._added = added
        self._writer = writer
        self._target = target
        self._metrics = metrics
        self._models = models
        self.put_aside: dict[str, Progress] = {}
        self._held: dict[str, int] = {}
        self._filling: set[str] = set()
        self._seen: dict[str, tuple[float, int]] = {}  # when a model's entries were first seen, and what was done then

    def publish(self, lsn: int, at: int, silent: AbstractSet[str], put_aside: dict[str, Progress]) -> None:
        """Publish a committed position. at: commit time there, microseconds. silent: models written further already."""
        self._export(put_aside)
        self._export_fills()
        loud = [name for name in self._models if name not in silent]
        held = {name: put_aside[name] for name in loud if name in put_aside}
        self._write({name: lsn for name in loud if name not in held}, at)
        for name, progress in held.items():
            if self._held.get(name) != progress.since:  # it stays the same for as long as the oldest change waits
                self._write({name: progress.since}, progress.since_at)
        self._held = {name: progress.since for name, progress in held.items()}

    def _write(self, covered: dict[str, int], at: int) -> None:
        if not covered:
            return
        target = self._target
        with self._metrics.phase_seconds.labels(phase="publish").time():
            self._writer.publish_positions(
                {
                    position: lsn
                    for name, lsn in covered.items()
                    for position in (target.table(name), *self._added.beside(name))
                },
                at,
                target.epoch,
                keyspace=target.keyspace,
                projection=target.projection,
            )
        for name, lsn in covered.items():
            self._metrics.covered_lsn.labels(name).set(lsn)

    def _export_fills(self) -> None:
        fills = self._added.fills
        for name in self._filling | fills.keys():
            self._metrics.backfill_left.labels(name).set(fills[name].total - fills[name].done if name in fills else 0)
        self._filling = set(fills)

    def _export(self, put_aside: dict[str, Progress]) -> None:
        now = time.monotonic()
        for name in self.put_aside.keys() | put_aside.keys():
            progress = put_aside.get(name)
            if progress is None:
                self._seen.pop(name, None)
                self._metrics.put_aside(name, 0, 0, 0.0)
                continue
            if not progress.entries:
                self._seen.pop(name, None)
                self._metrics.put_aside(name, 0, 0, 0.0, progress.pending)
                continue
            since, done = self._seen.setdefault(name, (now, progress.done))
            rate = (progress.done - done) / (now - since) if now > since else 0.0
            left = progress.total - progress.done
            self._metrics.put_aside(
                name, progress.entries, left, left / rate if rate > 0 else float("nan"), progress.pending
            )
        self.put_aside = put_aside
