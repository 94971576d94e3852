"""``projector generations list | build | switch | drop``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import typer
from cassandra.cluster import Session
from rich.console import Console
from rich.table import Table

from command_api.lsn import Lsn
from command_api.process.logging import get_logger
from command_api.process.probes import Probes
from command_api.process.settings import Settings
from command_api.process.stopping import stop_on_signals
from projections.generations import OPEN, Generation, Registered, State
from projections.shape import shape_of
from projector.cassandra.progress import Position, read_positions
from projector.cassandra.session import close, connect
from projector.configured import ConfigurationError, load_read_models
from projector.generations.build import Build
from projector.generations.drop import drop as drop_generation
from projector.generations.pace import told
from projector.generations.registry import Registry
from projector.generations.switch import switch as switch_to
from projector.generations.tables import registry_of

generations = typer.Typer(
    no_args_is_help=True,
    help="Other tables for a read model, beside the live one: built, verified, switched to, dropped.\n\nExample:"
    " projector generations build orders_by_user",
)
_log = get_logger(__name__)

Positions = Callable[[], Mapping[str, Position]]


@generations.command("list")
def list_() -> None:
    """Show each read model's generations: table, state, which one is live and which is declared, what it covers, progress.

    A table on a terminal, elsewhere a line each with tabs between.

    Example: projector generations list
    """
    with _opened() as (settings, _, registry, positions):
        models = load_read_models(settings.projector.read_models)
        declared = {model.name: shape_of(model).fingerprint for model in models}
        found, covered = registry.read(declared), positions()
    rows = [
        _row(found[name], generation, declared.get(name, ""), covered)
        for name in sorted(found)
        for _, generation in sorted(found[name].generations.items())
    ]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table("read model", "generation", "table", "state", "", "covers", "progress")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@generations.command()
def build(
    names: Annotated[
        list[str], typer.Argument(help="Read models to build in new generations, as they are declared now.")
    ],
    only: Annotated[
        bool, typer.Option("--only", help="Keep no replica of the other read models: quicker, and none to go on with.")
    ] = False,
    then_switch: Annotated[bool, typer.Option("--then-switch", help="Switch to them once all are verified.")] = False,
    metrics_port: Annotated[int, typer.Option(min=0, help="Of this build's /metrics; 0 takes a free one.")] = 0,
) -> None:
    """Fill new tables from the log, compare them with Postgres, then keep them up to date until SIGTERM or Ctrl-C.

    The same command resumes a build that was stopped or killed. Ends with 1 when what was built differs from its SQL.

    Example: projector generations build orders_by_user --then-switch
    """
    settings = Settings()
    models = load_read_models(settings.projector.read_models)
    unknown = set(names) - {model.name for model in models}
    if unknown:
        raise ConfigurationError(
            f"no read model {', '.join(sorted(unknown))}: there are {', '.join(model.name for model in models)}"
        )
    stop = threading.Event()
    stop_on_signals(stop, settings.process.stop_s)
    job = Build(settings, models, names, only=only, then_switch=then_switch)
    probes = Probes(job.metrics.registry, job.readiness.reason, settings.projector.metrics_host, metrics_port)
    _log.info("metrics are served", host=settings.projector.metrics_host, port=probes.port)
    try:
        equal = job.run(stop, typer.echo)
    finally:
        probes.close()
    if not equal:
        raise typer.Exit(1)


@generations.command()
def switch(
    name: Annotated[str, typer.Argument(help="A read model.")],
    generation: Annotated[int | None, typer.Argument(help="Its number; the newest verified one when left out.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds for it to cover what the live one does.")] = 30.0,
) -> None:
    """Make a verified generation the one that is read, in one write; the way back is the same with the other number.

    Example: projector generations switch orders_by_user 2
    """
    with _opened() as (_, _, registry, positions):
        done = switch_to(registry, positions, name, generation, wait_s=wait)
    typer.echo(f"generation {done.number} of {name} is live: {done.table}")


@generations.command()
def drop(
    name: Annotated[str, typer.Argument(help="A read model.")],
    generation: Annotated[int, typer.Argument(help="Its number.")],
    force: Annotated[bool, typer.Option("--force", help="Also while a worker still writes it.")] = False,
) -> None:
    """Drop a generation that is not live, its tables and its position.

    Example: projector generations drop orders_by_user 1
    """
    with _opened() as (settings, session, registry, positions):
        done = drop_generation(
            session,
            registry,
            positions,
            name,
            generation,
            keyspace=settings.cassandra.keyspace,
            projection=settings.projector.projection,
            force=force,
        )
    typer.echo(f"generation {done.number} of {name} is dropped: {done.table}")


@contextmanager
def _opened() -> Iterator[tuple[Settings, Session, Registry, Positions]]:
    settings = Settings()
    session = connect(settings.cassandra)
    try:
        yield (
            settings,
            session,
            registry_of(session, settings),
            lambda: read_positions(session, settings.cassandra.keyspace, settings.projector.projection, 0),
        )
    finally:
        close(session)


def _row(
    of_model: Registered, generation: Generation, declared: str, covered: Mapping[str, Position]
) -> tuple[str, ...]:
    position = covered.get(generation.table)
    marks = (
        "live" if generation.number == of_model.live else "",
        "declared" if generation.fingerprint == declared else "",
    )
    what = told(generation.progress) if generation.state in OPEN | {State.VERIFIED} else generation.reason
    return (
        of_model.read_model,
        str(generation.number),
        generation.table,
        str(generation.state),
        ", ".join(filter(None, marks)),
        str(Lsn(position.lsn)) if position else "",
        what,
    )
