"""``projector refresh --scheduled``: each scheduled read model in a thread of its own, until told to stop.

A read model is due at the first tick after its last successful run began, by Postgres's clock and memory: ticks that
passed while no process ran are made up for by one run at once, and a run on demand counts. A failed run leaves the old
rows, raises `projection_refresh_failing`, and is tried again after a growing wait, at the next tick at the latest. A read
model that another process runs at that moment is left to it, and looked at again. Two such processes are thus harmless:
a hot standby.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime

import psycopg
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projections.schedule import due_at, parse
from projector.refresh.connection import connected
from projector.refresh.errors import RefreshAwayError, RefreshBusyError, RefreshError
from projector.refresh.metrics import RefreshMetrics
from projector.refresh.run import check_table, look, run_if_due

_log = get_logger(__name__)
_LONGEST_WAIT_S = 300.0  # then Postgres's clock is asked again: ours may have jumped
_BUSY_S = 5.0  # then either the other process has run it, or it has died and the run is ours
_CANCEL_S = 5.0


class ScheduledModel(threading.Thread):
    """The runs of one read model; `error` is what ended it other than `stop`."""

    def __init__(self, model: ReadModel, settings: Settings, metrics: RefreshMetrics, stop: threading.Event) -> None:
        super().__init__(name=f"refresh-{model.name}", daemon=True)
        assert model.refresh is not None
        self.error: BaseException | None = None
        self._model = model
        self._schedule = parse(model.refresh)
        self._settings = settings
        self._metrics = metrics
        self._stop_asked = stop
        self._held = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._backoff = wait_exponential_jitter(
            initial=settings.refresh.retry_first_s, max=settings.refresh.retry_most_s
        )

    def run(self) -> None:
        """The thread."""
        retrying = Retrying(
            retry=retry_if_exception_type(RefreshError),
            wait=self._pause,
            stop=stop_when_event_set(self._stop_asked),
            sleep=lambda seconds: self._wait(seconds),
            before_sleep=self._failed,
            reraise=True,
        )
        try:
            while not self._stop_asked.is_set():
                self._wait(retrying(self._turn))
        except BaseException as error:
            if not (self._stop_asked.is_set() and isinstance(error, RefreshError)):
                self.error = error
                self._stop_asked.set()

    def cancel(self) -> None:
        """Have Postgres end the statement of a run in hand, which rolls it back."""
        with self._held:
            if self._connection is not None and not self._connection.closed:
                self._connection.cancel_safe(timeout=_CANCEL_S)

    def _turn(self) -> float:
        """Run if it is due; the seconds until the next look. Raises RefreshError."""
        name, chosen = self._model.name, self._settings
        with connected(
            chosen.postgres.refresher.get_secret_value(),
            name,
            setting="postgres.refresher",
            timeout_s=chosen.refresh.timeout_s,
        ) as connection:
            last = look(connection, self._model)
            due = due_at(self._schedule, last.started_at, last.now)
            if due > last.now:
                return (due - last.now).total_seconds()
            with self._held:
                self._connection = connection
            try:
                done = run_if_due(connection, self._model, chosen.relay.publication, self._schedule)
            except RefreshBusyError:
                _log.info("another process runs this read model", read_model=name, look_again_in_s=_BUSY_S)
                self._metrics.busy(name)
                return _BUSY_S
            finally:
                with self._held:
                    self._connection = None
        if done is not None:
            self._metrics.done(name, done)
            _log.info(
                "refreshed",
                read_model=name,
                inserted=done.inserted,
                updated=done.updated,
                deleted=done.deleted,
                lsn=str(done.lsn),
                seconds=round(done.seconds, 3),
            )
        return 0.0

    def _pause(self, state: RetryCallState) -> float:
        now = datetime.now(UTC)
        return min(self._backoff(state), (self._schedule.next_after(now) - now).total_seconds())

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        self._metrics.failed(self._model.name)
        _log.error(
            "the refresh failed, the old rows stay",
            read_model=self._model.name,
            kind=type(error).__name__,
            reason=str(error),
            attempt=state.attempt_number,
            retry_in_s=round(wait, 2),
        )

    def _wait(self, seconds: float) -> None:
        self._stop_asked.wait(min(seconds, _LONGEST_WAIT_S))


def run_scheduled(
    settings: Settings, models: Iterable[ReadModel], metrics: RefreshMetrics, stop: threading.Event
) -> None:
    """Work until `stop` is set; raises RefreshSetupError at the start when a pseudo-table is not as it must be."""
    chosen = tuple(models)
    check_tables(settings, chosen)
    threads = [ScheduledModel(model, settings, metrics, stop) for model in chosen]
    for thread, model in zip(threads, chosen, strict=True):
        metrics.watch(model.name)
        thread.start()
    _log.info("refreshing on schedule", read_models={model.name: model.refresh for model in chosen})
    stop.wait()
    for thread in threads:
        thread.cancel()
    for thread in threads:
        thread.join(_CANCEL_S)
    for thread in threads:
        if thread.error is not None:
            raise thread.error


def check_tables(settings: Settings, models: Iterable[ReadModel]) -> None:
    """Raise RefreshSetupError when a pseudo-table is missing; a Postgres that is away is left to the runs."""
    for model in models:
        try:
            with connected(
                settings.postgres.refresher.get_secret_value(),
                model.name,
                setting="postgres.refresher",
                timeout_s=settings.refresh.timeout_s,
            ) as connection:
                look(connection, model)
                check_table(connection, model, settings.relay.publication)
        except RefreshAwayError as error:
            _log.warning("Postgres is away", reason=str(error))
            return
