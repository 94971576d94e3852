"""A worker's background check: now and then a sample of each read model against its SQL, exported as a metric.

A thread with connections of its own. It repairs nothing: what it finds is in `projection_drift_rows`, in the log, and
`projector verify --repair` mends it. A check that can't be made is logged and made again the next time; the worker
never waits for it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cassandra.cluster import Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projector.cassandra.errors import CassandraError
from projector.cassandra.session import close, connect
from projector.generations.errors import GenerationError
from projector.generations.tables import written_now
from projector.metrics import WorkerMetrics
from projector.verify.compare import Progress
from projector.verify.errors import VerifyError
from projector.verify.run import Options, verify

_log = get_logger(__name__)
_SHOWN = 3
_STOP_SECONDS = 10.0


class _StoppedError(Exception):
    """The worker ends; so does the check in hand."""


@contextmanager
def sampling(
    settings: Settings, models: Sequence[ReadModel], metrics: WorkerMetrics, stop: threading.Event
) -> Iterator[None]:
    """Check samples as long as the block runs, if the settings ask for it."""
    if not settings.projector.verify_every_s:
        yield
        return
    ended = threading.Event()

    def stopping() -> bool:
        return stop.is_set() or ended.is_set()

    thread = threading.Thread(
        target=_run, args=(settings, models, metrics, ended, stopping), name="verify-samples", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_STOP_SECONDS)


def _run(
    settings: Settings,
    models: Sequence[ReadModel],
    metrics: WorkerMetrics,
    ended: threading.Event,
    stopping: Callable[[], bool],
) -> None:

    def progress(phase: str, done: int, total: int | None = None) -> None:
        if stopping():
            raise _StoppedError

    while not ended.wait(settings.projector.verify_every_s) and not stopping():
        try:
            session = connect(settings.cassandra, deadline_s=_STOP_SECONDS, stop=ended)
        except CassandraError as error:
            _log.warning("a sample could not be verified", reason=str(error))
            continue
        try:
            tables = written_now(session, settings, models)
            for model in models:
                _check(model, settings, session, metrics, progress, tables[model.name])
        except GenerationError as error:
            _log.warning("a sample could not be verified", reason=str(error))
        except _StoppedError:
            return
        finally:
            close(session)


def _check(
    model: ReadModel, settings: Settings, session: Session, metrics: WorkerMetrics, progress: Progress, table: str
) -> None:
    options = Options(percent=settings.projector.verify_sample, seed=secrets.randbelow(1 << 31))
    try:
        report = verify(model, settings, session, options, progress, table)
    except (VerifyError, CassandraError) as error:
        _log.warning("a sample could not be verified", read_model=model.name, reason=str(error))
        return
    metrics.drift_rows.labels(model.name).set(report.differing)
    metrics.verified_at.labels(model.name).set(time.time())
    if report.differing:
        _log.warning(
            "a sample differs from its SQL: projector verify --repair",
            read_model=model.name,
            rows=report.differing,
            first=[str(each) for each in report.differences[:_SHOWN]],
        )
