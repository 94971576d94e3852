"""The relay's commands: ``relay setup``, ``run``, ``status``, ``snapshot``, ``heartbeats`` (or ``python -m command_api.relay …``)."""

from __future__ import annotations

import sys
import threading
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from command_api.process.logging import configure_logging, get_logger
from command_api.process.settings import Settings
from command_api.process.stopping import stop_on_signals
from command_api.relay.errors import RelayError

app = typer.Typer(
    name="relay",
    help="Capture: streams committed changes of Postgres into the Kafka log, in commit order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_log = get_logger("command_api.relay")


def _fail(error: RelayError) -> NoReturn:
    _log.error(str(error), kind=type(error).__name__)
    raise typer.Exit(1) from error


@app.command()
def setup() -> None:
    """Make publication, topic and slot, and write the initial snapshot. May be repeated; a finished set-up is kept.

    Example: LOCKSTEP_POSTGRES__ADMIN="host=127.0.0.1 dbname=app user=postgres" relay setup
    """
    from command_api.relay.setup import setup as run_setup

    try:
        report = run_setup(Settings())
    except RelayError as error:
        _fail(error)
    rows = "kept" if report.snapshot_rows is None else f"{report.snapshot_rows} rows"
    typer.echo(f"{len(report.tables)} tables published, snapshot {rows}, log at {report.position}")


@app.command()
def snapshot() -> None:
    """Write a fresh whole snapshot of the published tables into the log, at its place in the order of commits.

    The relay must not run meanwhile. For readers that build their state anew when the log no longer reaches back far
    enough, and after tables were added to the publication.

    Example: relay snapshot
    """
    from command_api.relay.fresh_snapshot import fresh_snapshot

    try:
        report = fresh_snapshot(Settings())
    except RelayError as error:
        _fail(error)
    typer.echo(f"{report.snapshot_rows} rows of {len(report.tables)} tables, log at {report.position}")


@app.command()
def run(
    metrics: Annotated[
        bool, typer.Option(help="Serve /metrics, /healthz and /readyz on relay.metrics_host:metrics_port.")
    ] = True,
) -> None:
    """Stream until SIGTERM or Ctrl-C. Exits with 1 and the reason when going on could lose or invent changes.

    Example: LOCKSTEP_KAFKA__TOPIC=lockstep.app relay run
    """
    from command_api.relay.loop import run as run_loop
    from command_api.relay.metrics import RelayState, SlotSampler, served

    settings, state, stop = Settings(), RelayState(), threading.Event()
    stop_on_signals(stop, settings.process.stop_s)
    server = sampler = None
    try:
        if metrics:
            server = served(state, settings.relay.metrics_host, settings.relay.metrics_port)
        sampler = SlotSampler(state, settings.postgres.relay.get_secret_value(), settings.relay.slot)
        run_loop(settings, state, stop)
    except RelayError as error:
        _fail(error)
    except OSError as error:
        _log.error(f"metrics can't be served: {error}. Choose another relay.metrics_port")
        raise typer.Exit(1) from error
    finally:
        for part in (server, sampler):
            if part is not None:
                part.close()


@app.command()
def heartbeats() -> None:
    """Beside a Debezium connector that runs in the relay's place: let positions come into the log while nothing happens.

    Until SIGTERM or Ctrl-C. Exits with 1 and the reason when the log can't be continued from the slot, or the slot is lost.

    Example: relay heartbeats
    """
    from command_api.relay.heartbeats import run as run_heartbeats

    settings, stop = Settings(), threading.Event()
    stop_on_signals(stop, settings.process.stop_s)
    try:
        run_heartbeats(settings, stop)
    except RelayError as error:
        _fail(error)


@app.command()
def status() -> None:
    """Show slot, log and whether they fit; exits with 1 when the relay could not start.

    Example: relay status
    """
    from command_api.relay.status import read_status

    found = read_status(Settings())
    table = Table(show_header=False)
    for name, value in found.lines:
        table.add_row(name, value)
    Console().print(table)
    if found.problem:
        typer.echo(found.problem, err=True)
        raise typer.Exit(1)


def main() -> None:
    """The console entry point: settings that are not valid are one log line, and exit status 1."""
    configure_logging()
    try:
        app(prog_name="relay")
    except ValidationError as error:
        _log.error(str(error), kind="ValidationError")
        sys.exit(1)


if __name__ == "__main__":
    main()
