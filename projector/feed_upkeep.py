"""What a worker does for the partitions of feeds after each commit: it exports what was left out, and trims.

A trim needs no transaction and holds up no position: it follows the publication, a few partitions at a time, so that it
delays the next batch by milliseconds. What it came to is taken down in a transaction of its own; lost, it is found out again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container

from projections.cassandra_table import cassandra_table, write_timestamp
from projections.read_model import ReadModel
from projector.apply.step import Step
from projector.cassandra.trim import Trimmer, Trimmers
from projector.cassandra.write import Writer
from projector.coverage import Target
from projector.feeds.cap import slack_of, trim_at
from projector.metrics import WorkerMetrics
from projector.replica.schema import Position

MOST = 32  # partitions of a feed after one commit


def trimmers(writer: Writer, target: Target, models: tuple[ReadModel, ...]) -> Trimmers:
    """One for each feed with a cap. Half of the slack is left alone: a tombstone is to take many rows."""
    return {
        m.name: Trimmer(
            writer.session,
            cassandra_table(m, target.keyspace, target.table(m.name)),
            keep=m.fan_out.cap,
            spare=slack_of(m.fan_out.cap) // 2,
        )
        for m in models
        if m.fan_out is not None and m.fan_out.cap is not None
    }


class FeedUpkeep:
    """The upkeep of one worker's feeds."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        step: Step,
        writer: Writer,
        target: Target,
        metrics: WorkerMetrics,
        models: tuple[ReadModel, ...],
    ) -> None:
        self._connection = connection
        self._step = step
        self._epoch = target.epoch
        self._metrics = metrics
        self._trimmers = trimmers(writer, target, models)
        self._sliced = 0  # the position of the last slice that was written
        for name, hot in step.feeds.hot.items():
            metrics.hot_authors.labels(name).set(hot.number())
            metrics.feed_flips_under_way.labels(name).set(len(hot.under_way()))
            for to in ("hot", "copied"):
                metrics.feed_flips.labels(name, to)
        for name in step.feeds.inactive:
            metrics.inactive_readers.labels(name).set(step.feeds.inactive[name].number())
            for counter in (metrics.skipped_writes, metrics.rebuilt_partitions):
                counter.labels(name)

    def committed(self, position: Position, silent: Container[str], *, sliced: bool = False) -> None:
        """The worker's position is committed and published; nothing of a batch is open. sliced: slices are part of it."""
        self._export()
        if sliced:
            self._sliced = position.lsn
        for name, cap in self._step.feeds.caps.items():
            readers = cap.due(position.lsn, MOST)
            if not readers or name in silent:
                continue
            at = trim_at(position.lsn, position.applied_lsn, self._step.deferred.held_back(name), self._sliced)
            with self._metrics.phase_seconds.labels(phase="trim").time():
                outcomes = self._trimmers[name].trim(readers, write_timestamp(self._epoch, at.stamp))
            self._connection.execute("BEGIN IMMEDIATE")
            cap.trimmed(outcomes, at)
            self._connection.execute("COMMIT")
            self._metrics.trims.labels(name).inc(sum(outcome.cut for outcome in outcomes.values() if outcome))

    def _export(self) -> None:
        for name, hot in self._step.feeds.hot.items():
            if hot.flips:
                self._metrics.hot_authors.labels(name).set(hot.number())
                self._metrics.feed_flips.labels(name, "hot").inc(hot.flips[True])
                self._metrics.feed_flips.labels(name, "copied").inc(hot.flips[False])
                hot.flips.clear()
            self._metrics.feed_flips_under_way.labels(name).set(len(hot.under_way()))
        for name, inactive in self._step.feeds.inactive.items():
            self._metrics.skipped_writes.labels(name).inc(inactive.left_out)
            self._metrics.rebuilt_partitions.labels(name).inc(inactive.rebuilt)
            inactive.left_out = inactive.rebuilt = 0
            self._metrics.inactive_readers.labels(name).inc(inactive.more)
            inactive.more = 0
