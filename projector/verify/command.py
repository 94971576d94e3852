"""``projector verify``: names to read models, progress on a terminal, the report, and the exit status.

0: everything compared is equal. 1: something differed, whether or not it is mended now. 2: it could not be compared.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projector.apply.log import LogUnavailableError
from projector.cassandra.errors import CassandraError
from projector.cassandra.session import close, connect
from projector.configured import ConfigurationError, load_read_models
from projector.generations.errors import GenerationError
from projector.generations.tables import written_now
from projector.verify.compare import Progress
from projector.verify.errors import VerifyError
from projector.verify.report import Report, as_json, lines
from projector.verify.run import Options
from projector.verify.run import verify as verify_model

DIFFERENT, FAILED = 1, 2
_MOST_SEED = 1 << 31
_log = get_logger(__name__)


def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Read models.", metavar="[NAME]...")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every read model.")] = False,
    sample: Annotated[str, typer.Option(help="Percentage of the partitions, another choice each time.")] = "100%",
    repair: Annotated[bool, typer.Option("--repair", help="Have the worker recompute what differs.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print every difference as JSON.")] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for coverage, each time.")] = 120.0,
    show: Annotated[int, typer.Option(min=0, help="Differences to print of a read model.")] = 20,
) -> None:
    """Compare read models with their SQL at one point of the log. Ends with 0: equal, 1: different, 2: can't tell.

    Example: projector verify --all --sample 5% --repair
    """
    settings = Settings()
    options = Options(percent=_percent(sample), seed=secrets.randbelow(_MOST_SEED), repair=repair, wait_s=wait)
    reports: list[Report] = []
    failed = False
    try:
        models = _chosen(load_read_models(settings.projector.read_models), names or [], every)
        session = connect(settings.cassandra)
        try:
            tables = written_now(session, settings, models)
            for model in models:
                try:
                    with _progress(model.name) as progress:
                        report = verify_model(model, settings, session, options, progress, tables[model.name])
                except (VerifyError, CassandraError, LogUnavailableError) as error:
                    _log.error("not verified", read_model=model.name, error=type(error).__name__, reason=str(error))
                    failed = True
                    continue
                reports.append(report)
                if not json_:
                    for line in lines(report, show):
                        typer.echo(line)
        finally:
            close(session)
    except (ConfigurationError, CassandraError, GenerationError) as error:
        _log.error("not verified", error=type(error).__name__, reason=str(error))
        failed = True
    if json_:
        typer.echo(as_json(reports))
    if failed:
        raise typer.Exit(FAILED)
    if any(report.differing for report in reports):
        raise typer.Exit(DIFFERENT)


def _chosen(models: Sequence[ReadModel], names: Sequence[str], every: bool) -> list[ReadModel]:
    if every == bool(names):
        raise ConfigurationError("give names of read models, or --all")
    unknown = set(names) - {model.name for model in models}
    if unknown:
        raise ConfigurationError(
            f"no read model {', '.join(sorted(unknown))}: there are {', '.join(model.name for model in models)}"
        )
    return [model for model in models if every or model.name in names]


def _percent(text: str) -> float:
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise typer.BadParameter(f"{text!r} is no percentage above 0 and up to 100", param_hint="--sample")
    return percent


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """A bar on standard error when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda phase, done, total=None: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None)

        def show(phase: str, done: int, total: int | None = None) -> None:
            bars.update(task, description=f"{name}: {phase}", completed=done, total=total)

        yield show
