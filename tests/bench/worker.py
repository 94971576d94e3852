"""A worker in a process of its own that drains the log to its end, prints what that took, as JSON, and waits for more.

It lives for all rounds, as a worker does: its caches are what the rounds before left, and what was written is moved into the
replica's file when that is due. The first round is timed from the first record read, the others from when a line on the
standard input begins them; each to its last batch committed. `cpu_s` is this process's, user and system. The input's end ends
it. Settings come from the environment, as for `projector run`. Used by `tests.bench.projector`.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
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
    """A round ends when the end that the log had at its beginning is committed; the next one begins when it is asked for."""

    def __init__(self, settings: Kafka, stop: threading.Event, tell: Callable[[float, float], None]) -> None:
        super().__init__(settings)
        self._stop, self._tell = stop, tell
        self._goal = self.bounds()[1]
        self._began: tuple[float, float] | None = None

    def read(self, most: int, timeout: float) -> list[tuple[int, bytes]]:
        records = super().read(most, timeout)
        if records and self._began is None:
            self._began = time.perf_counter(), _cpu()
        return records

    def commit(self, offset: int) -> None:
        if offset < self._goal or self._began is None:
            return
        began, cpu_began = self._began
        self._tell(time.perf_counter() - began, _cpu() - cpu_began)
        if not sys.stdin.readline():
            self._stop.set()
            return
        self._goal = self.bounds()[1]
        self._began = time.perf_counter(), _cpu()
        self.open_at(offset)  # what was fetched meanwhile is fetched again


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    """The largest resident set since this program began; getrusage's also counts the parent it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Drain, round after round."""
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
    metrics = WorkerMetrics()
    sums: dict[str, float] = {}

    def tell(seconds: float, cpu_s: float) -> None:
        sample, before = metrics.registry.get_sample_value, sums.copy()
        for phase in ("read", "maintain", "write", "commit", "publish"):
            sums[phase] = sample("projection_phase_seconds_sum", {"phase": phase}) or 0
        sums["rows"] = sum(sample("projection_rows_written_total", {"read_model": m.name}) or 0 for m in models)
        own = {name: value - before.get(name, 0) for name, value in sums.items()}
        sys.stdout.write(json.dumps({**own, "seconds": seconds, "cpu_s": cpu_s, "rss_mb": _peak_mb()}) + "\n")
        sys.stdout.flush()

    log = _TimedLog(settings.kafka, stop, tell)
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
    connection.close()
    log.close()
    close(session)


if __name__ == "__main__":
    main()
