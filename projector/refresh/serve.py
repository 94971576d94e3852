"""The two ways to run scheduled read models: now, by name; or as a process on their schedules, with its metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from command_api.process.logging import get_logger
from command_api.process.probes import Probes
from command_api.process.settings import Settings
from command_api.process.stopping import stop_on_signals
from projections.read_model import ReadModel
from projections.refreshed import scheduled
from projector.configured import ConfigurationError
from projector.refresh.connection import connected
from projector.refresh.metrics import RefreshMetrics
from projector.refresh.run import Run, run
from projector.refresh.scheduled import run_scheduled

_log = get_logger(__name__)


def refresh_now(
    settings: Settings, models: Iterable[ReadModel], names: Iterable[str], *, told: Callable[[str], None]
) -> dict[str, Run]:
    """Run the named read models one after the other; `told` gets a line of each. Raises RefreshError."""
    by_name = {model.name: model for model in scheduled(models)}
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in by_name:
            there = ", ".join(by_name) or "none has refresh="
            raise ConfigurationError(f"no scheduled read model {name!r}: there are {there}")
    runs = {}
    for name in chosen:
        with connected(
            settings.postgres.refresher.get_secret_value(),
            name,
            setting="postgres.refresher",
            timeout_s=settings.refresh.timeout_s,
        ) as connection:
            done = runs[name] = run(connection, by_name[name], settings.relay.publication)
        told(f"{name}: {done.inserted} inserted, {done.updated} updated, {done.deleted} deleted, LSN {done.lsn}")
    return runs


def refresh_on_schedule(settings: Settings, models: Iterable[ReadModel]) -> None:
    """Work until SIGTERM or Ctrl-C: the run in hand is rolled back. Raises RefreshError."""
    chosen = scheduled(models)
    if not chosen:
        raise ConfigurationError("projector.read_models: none of them has refresh=, so there is nothing to schedule")
    stop, metrics = threading.Event(), RefreshMetrics()
    stop_on_signals(stop, settings.process.stop_s)
    endpoint = settings.refresh
    probes = Probes(metrics.registry, metrics.reason, endpoint.metrics_host, endpoint.metrics_port)
    _log.info("metrics are served", host=endpoint.metrics_host, port=probes.port)
    try:
        run_scheduled(settings, chosen, metrics, stop)
    finally:
        probes.close()
