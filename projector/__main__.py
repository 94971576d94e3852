"""``projector``: keep Cassandra tables equal to the SQL queries that they replace."""

from __future__ import annotations

import sqlite3
import sys
import threading
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from command_api.envelope import LogRecordError
from command_api.process.collection import collect_seldom
from command_api.process.logging import configure_logging, get_logger
from command_api.process.probes import Probes
from command_api.process.settings import Settings
from command_api.process.stopping import stop_on_signals
from projections.read_model import DeclarationError
from projector.advise.command import advise
from projector.alerts import Limits, rules_file
from projector.apply.consume import LogGapError
from projector.apply.log import LogUnavailableError
from projector.apply.step import MaintenanceError
from projector.cassandra.errors import CassandraError
from projector.cassandra.roles import connect_without_default, make, roles
from projector.cassandra.session import close, connect
from projector.compile.catalogue import page
from projector.compile.errors import CompileError
from projector.compile.explain import explain as explained
from projector.compile.program import compile_models
from projector.configured import ConfigurationError, load_read_models
from projector.dead_letters.command import dead_letters
from projector.dead_letters.errors import DeadLetterError
from projector.generations.build import build_replica
from projector.generations.command import generations
from projector.generations.errors import GenerationError
from projector.generations.fitting import fitting_now
from projector.metrics import WorkerMetrics
from projector.published import WorkerError
from projector.readiness import Readiness
from projector.refresh.errors import RefreshError
from projector.refresh.pseudo_tables import set_up_refresh
from projector.refresh.serve import refresh_now, refresh_on_schedule
from projector.replica.schema import ReplicaError
from projector.replica.values import ValueFormatError
from projector.setup import SetupError, set_up, statements
from projector.setup import reset as reset_models
from projector.status import status_lines
from projector.verify.command import verify
from projector.verify.sampler import sampling
from projector.work import Work, work

_log = get_logger("projector")
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep Cassandra tables equal to the SQL queries that they replace.\n\nExample: projector setup && projector run",
)
_EXPECTED = (
    CassandraError,
    CompileError,
    ConfigurationError,
    DeadLetterError,
    DeclarationError,
    GenerationError,
    LogGapError,
    LogRecordError,
    LogUnavailableError,
    MaintenanceError,
    RefreshError,
    ReplicaError,
    SetupError,
    ValidationError,
    ValueFormatError,
    WorkerError,
)


@app.command()
def setup(
    recreate: Annotated[
        list[str] | None,
        typer.Option(help="A scheduled read model whose table in Postgres is dropped and made anew; may be repeated."),
    ] = None,
) -> None:
    """Make the keyspace, the read models' tables and the table of positions; in Postgres, the scheduled models' tables.

    Example: LOCKSTEP_CASSANDRA__KEYSPACE=shop projector setup
    """
    settings = Settings()
    models = load_read_models(settings.projector.read_models)
    session = connect(settings.cassandra)
    try:
        set_up(session, settings, models)
    finally:
        close(session)
    set_up_refresh(settings, models, recreate=recreate or ())


@app.command("roles")
def make_roles(
    replace_default_password: Annotated[
        bool,
        typer.Option(
            "--replace-default-password",
            help="Where cassandra.password is refused and Cassandra's default one, cassandra, is not, change it first:"
            " the superuser cassandra has cassandra.password from then on. Run again, it only logs in.",
        ),
    ] = False,
) -> None:
    """Make the least-privilege roles in Cassandra whose passwords the settings give, as a superuser; may be repeated.

    Run it before `setup` for the role that sets up, and after it for the grants on the keyspace. On a new cluster
    --replace-default-password gives the superuser that Cassandra has made, cassandra, the password of the settings.

    Example: LOCKSTEP_CASSANDRA__USERNAME=cassandra LOCKSTEP_CASSANDRA__PASSWORD=… projector roles
    """
    settings = Settings()
    chosen = roles(settings.cassandra_roles, settings.cassandra.keyspace)
    if not chosen:
        raise ConfigurationError(
            "cassandra_roles: no role has a password: set LOCKSTEP_CASSANDRA_ROLES__READER__PASSWORD and its like"
        )
    session = (connect_without_default if replace_default_password else connect)(settings.cassandra)
    try:
        make(session, chosen, settings.cassandra.keyspace)
    finally:
        close(session)


@app.command()
def tables() -> None:
    """Print the CQL that `setup` runs.

    Example: projector tables | cqlsh
    """
    settings = Settings()
    for statement in statements(settings, load_read_models(settings.projector.read_models)):
        typer.echo(statement + ";\n")


@app.command()
def explain(name: Annotated[str, typer.Argument(help="A read model, or 'all'.")]) -> None:
    """Show what a change of each source table looks up and writes, with the generated SQL.

    Example: projector explain orders_by_user
    """
    settings = Settings()
    models = load_read_models(settings.projector.read_models)
    program = compile_models(models)
    chosen = [m for m in program.models if name in ("all", m.model.name)]
    if not chosen:
        raise ConfigurationError(f"no read model {name!r}: there are {', '.join(m.name for m in models)}")
    typer.echo("\n\n".join(explained(program, model) for model in chosen))


@app.command()
def functions(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/functions.md instead.")] = False,
) -> None:
    """List the functions and operators that a read model may use.

    Example: projector functions
    """
    if markdown:
        typer.echo(page.markdown(), nl=False)
        return
    table = Table("section", "SQL", "arguments", "result", "rule")
    for row in page.functions():
        table.add_row(*row)
    Console().print(table)


@app.command()
def alerts(
    hold: Annotated[str, typer.Option("--for", help="How long something must be so before it is told.")] = "30s",
    window: Annotated[str, typer.Option(help="That rates are taken over; several scrapes long.")] = "2m",
    slot_bytes: Annotated[int, typer.Option(min=1, help="Of WAL that Postgres may keep for the slot.")] = 10 << 30,
) -> None:
    """Print Prometheus's rules for the declared read models: each one's staleness becomes its alert.

    Example: projector alerts > deploy/prometheus/alerts.yml
    """
    models = load_read_models(Settings().projector.read_models)
    typer.echo(rules_file(models, Limits(hold=hold, window=window, slot_bytes=slot_bytes)), nl=False)


@app.command()
def reset(name: Annotated[str, typer.Argument(help="A read model.")]) -> None:
    """Empty a read model's table and forget its position; workers fill it anew from the log.

    Example: projector reset orders_by_user
    """
    settings = Settings()
    chosen = tuple(m for m in load_read_models(settings.projector.read_models) if m.name == name)
    if not chosen:
        raise ConfigurationError(f"no read model {name!r}")
    session = connect(settings.cassandra)
    try:
        reset_models(session, settings, chosen)
    finally:
        close(session)


@app.command()
def skip(offset: Annotated[int, typer.Option(min=0, help="Log offset of the record that can't be decoded.")]) -> None:
    """Pass over one record of the log that is not the relay's. The worker must be stopped.

    Example: projector skip --offset 4711
    """
    path = Settings().projector.replica
    if not path.exists():
        raise ConfigurationError(f"projector.replica: there is no replica at {path}")
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("INSERT OR IGNORE INTO skipped VALUES (?)", (offset,))
    except sqlite3.OperationalError as error:
        raise ReplicaError(f"the replica {path} can't be written ({error}): stop its worker first") from error
    finally:
        connection.close()
    _log.warning("the record will be passed over", offset=offset, replica=str(path))


@app.command()
def status() -> None:
    """Show what each read model covers, and what its worker has put aside (asked at projector.metrics_host and _port).

    Example: projector status
    """
    for line in status_lines(Settings()):
        typer.echo(line)


@app.command()
def refresh(
    names: Annotated[list[str] | None, typer.Argument(help="Scheduled read models to run now.")] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Run all of them on their schedules until SIGTERM or Ctrl-C.")
    ] = False,
) -> None:
    """Run the SQL of scheduled read models on Postgres; the difference from their last runs enters the log.

    Example: projector refresh category_report
    """
    settings = Settings()
    models = load_read_models(settings.projector.read_models)
    if scheduled == bool(names):
        raise typer.BadParameter("name read models to run now, or give --scheduled")
    if scheduled:
        refresh_on_schedule(settings, models)
    else:
        refresh_now(settings, models, names or (), told=typer.echo)


app.command()(verify)
app.command()(advise)
app.add_typer(generations, name="generations")
app.add_typer(dead_letters, name="dead-letters")


@app.command()
def run() -> None:
    """Work until SIGTERM or Ctrl-C: finish the batch in hand, then stop.

    Example: LOCKSTEP_PROJECTOR__REPLICA=/var/lib/projector/replica.sqlite projector run
    """
    settings = Settings()
    models = load_read_models(settings.projector.read_models)
    program = compile_models(models)
    stop = threading.Event()
    stop_on_signals(stop, settings.process.stop_s)
    metrics, readiness = WorkerMetrics(), Readiness()
    endpoint = settings.projector
    probes = Probes(metrics.registry, readiness.reason, endpoint.metrics_host, endpoint.metrics_port)
    _log.info("metrics are served", host=endpoint.metrics_host, port=probes.port)
    try:
        with sampling(settings, models, metrics, stop):
            work(
                Work(
                    settings=settings,
                    program=program,
                    models=models,
                    metrics=metrics,
                    readiness=readiness,
                    stop=stop,
                    tables=lambda session: fitting_now(session, settings, models),
                    successor=build_replica(settings),
                    turned=readiness.turned,
                )
            )
    except BaseException:
        metrics.failed()
        raise
    finally:
        probes.close()


def main() -> None:
    """The console entry point: an expected error is one log line with its remedy, and exit status 1."""
    configure_logging()
    collect_seldom()
    try:
        app(prog_name="projector")
    except _EXPECTED as error:
        _log.error("projector stopped", error=type(error).__name__, reason=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
