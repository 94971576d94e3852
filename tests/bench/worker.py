"""A worker in a process of its own that drains the log to its end once and prints what that took, as JSON.

Timed from the first record read to the last batch committed, and the replica's closing, which moves what was written into
its file: no round leaves that work to nobody. `cpu_s` is this process's, user and system. Settings come from the
environment, as for `projector run`. Used by `tests.bench.projector`.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path

from command_api.process.collection import collect_seldom
from command_api.process.logging import configure_logging
from command_api.process.settings import Kafka, Settings
from projections.cassandra_table import cassandra_table
from projector.apply.log import LogReader
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from projector.compile.program import compile_models
from projector.configured import load_read_models
from projector.coverage import Target
from projector.metrics import WorkerMetrics
from projector.replica.schema import open_replica
from projector.worker import Worker


class _TimedLog(LogReader):
    """Notes the first read, and stops the worker once the end that was there at the start is committed."""

    def __init__(self, settings: Kafka, stop: threading.Event) -> None:
        super().__init__(settings)
        self._stop = stop
        self._goal = self.bounds()[1]
        self.began = self.ended = 0.0
        self.cpu_began = self.cpu_ended = 0.0

    def read(self, most: int, timeout: float) -> list[tuple[int, bytes]]:
        records = super().read(most, timeout)
        if records and not self.began:
            self.began, self.cpu_began = time.perf_counter(), _cpu()
        return records

    def commit(self, offset: int) -> None:
        if offset >= self._goal:
            self.ended, self.cpu_ended = time.perf_counter(), _cpu()
            self._stop.set()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    """The largest resident set since this program began; getrusage's also counts the parent it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Drain once."""
    configure_logging()
    collect_seldom()
    settings = Settings()
    models = load_read_models(settings.projector.read_models)
    program = compile_models(models)
    stop = threading.Event()
    connection = open_replica(settings.projector.replica, program, "bench")
    session = connect(settings.cassandra)
    bounds = settings.projector
    writer = Writer(
        session,
        rows_per_batch=bounds.rows_per_batch,
        batch_bytes=bounds.batch_bytes,
        partitions_per_batch=bounds.partitions_per_batch,
        in_flight=bounds.batches_in_flight,
    )
    for model in models:
        writer.prepare(cassandra_table(model, settings.cassandra.keyspace))
    log, metrics = _TimedLog(settings.kafka, stop), WorkerMetrics()
    worker = Worker(
        connection=connection,
        program=program,
        log=log,
        writer=writer,
        target=Target(keyspace=settings.cassandra.keyspace, projection="bench", epoch=1),
        metrics=metrics,
        stop=stop,
        max_batch_changes=bounds.max_batch_changes,
    )
    worker.run()
    rows = sum(
        metrics.registry.get_sample_value("projection_rows_written_total", {"read_model": m.name}) or 0 for m in models
    )
    phases = {
        phase: round(metrics.registry.get_sample_value("projection_phase_seconds_sum", {"phase": phase}) or 0, 3)
        for phase in ("read", "maintain", "write", "commit", "publish")
    }
    closing, cpu_closing = time.perf_counter(), _cpu()
    connection.close()
    closed, cpu_closed = time.perf_counter() - closing, _cpu() - cpu_closing
    result = {
        "rows": rows,
        "seconds": log.ended - log.began + closed,
        "cpu_s": log.cpu_ended - log.cpu_began + cpu_closed,
        "rss_mb": _peak_mb(),
        **phases,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    log.close()
    close(session)


if __name__ == "__main__":
    main()
