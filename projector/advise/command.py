"""``projector advise``: options to measurements to lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from command_api.process.settings import Settings
from projections.read_model import ReadModel
from projector.advise.capacity import Scale, need
from projector.advise.measure import source
from projector.advise.rates import BENCH, Given, bench_figures, pages_per_s, rates
from projector.advise.report import model_lines, scale_lines
from projector.configured import ConfigurationError, load_read_models

_BOUND_S = 5.0


def advise(
    names: Annotated[
        list[str] | None, typer.Argument(help="Read models; all when none is named.", metavar="[NAME]...")
    ] = None,
    posts_per_s: Annotated[float | None, typer.Option(min=0, help="Of a scale to plan for, with --followers.")] = None,
    followers: Annotated[float | None, typer.Option(min=0, help="The mean of that scale's authors.")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Copies of each row in Cassandra.")] = 3,
    scale_only: Annotated[bool, typer.Option("--scale-only", help="Plan the scale and ask no Postgres.")] = False,
    reads_per_s: Annotated[float | None, typer.Option(min=0, help="Pages a second of a feed, by all readers.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="The read API's metrics: pages a second by looking twice.")
    ] = None,
    metrics_s: Annotated[float, typer.Option(min=0.1, help="Seconds between those looks.")] = 5.0,
    days: Annotated[float, typer.Option(min=0.01, help="Post rates are taken over the last so many days.")] = 7.0,
    threshold: Annotated[list[int] | None, typer.Option(help="One more threshold to cost; may be repeated.")] = None,
    within_s: Annotated[
        float | None, typer.Option(min=0, help="How long one entry may take to be copied; the staleness by default.")
    ] = None,
    worker_rows_per_s: Annotated[
        float | None, typer.Option(min=1, help="Of a worker, instead of what was measured.")
    ] = None,
    node_writes_per_s: Annotated[float | None, typer.Option(min=1, help="Of a Cassandra node, likewise.")] = None,
    node_cores: Annotated[int, typer.Option(min=1, help="Cores of a Cassandra node.")] = 8,
    load: Annotated[float, typer.Option(min=0.01, max=1, help="The share of those rates to plan with.")] = 0.5,
    bench: Annotated[Path, typer.Option(help="Where `make bench` left its figures.")] = BENCH,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Of each statement on Postgres.")] = 60.0,
) -> None:
    """Measure what read models cost and what a feed should push or pull, on the tables as they are (as postgres.reader).

    Example: projector advise home_timeline --reads-per-s 400 --posts-per-s 2000 --followers 300 --replicas 3
    """
    settings = Settings()
    given = Given(worker_rows_per_s=worker_rows_per_s, node_writes_per_s=node_writes_per_s, node_cores=node_cores)
    found = replace(rates(bench_figures(bench), given), load=load)
    if (posts_per_s is None) != (followers is None):
        raise typer.BadParameter("a scale is --posts-per-s and --followers")
    if scale_only and posts_per_s is None:
        raise typer.BadParameter("--scale-only needs --posts-per-s and --followers")
    if posts_per_s is not None and followers is not None:
        scale = Scale(posts_per_s=posts_per_s, followers=followers, replicas=replicas)
        for line in scale_lines(scale, need(scale, found), found):
            typer.echo(line)
    if scale_only:
        return
    models = _chosen(load_read_models(settings.projector.read_models), names or ())
    pages = pages_per_s(metrics, metrics_s) if metrics is not None else {}
    with source(settings.postgres.reader.get_secret_value(), timeout_s) as opened:
        for model in models:
            typer.echo("")
            bound = within_s if within_s is not None else _staleness(model)
            read = reads_per_s if reads_per_s is not None else pages.get(model.name)
            measured = opened.measure(model, days, read)
            for line in model_lines(measured, found, replicas, threshold or (), bound):
                typer.echo(line)


def _chosen(models: tuple[ReadModel, ...], names: Sequence[str]) -> tuple[ReadModel, ...]:
    unknown = set(names) - {model.name for model in models}
    if unknown:
        there = ", ".join(model.name for model in models)
        raise ConfigurationError(f"no read model {', '.join(sorted(unknown))}: there are {there}")
    return tuple(model for model in models if not names or model.name in names)


def _staleness(model: ReadModel) -> float:
    return _BOUND_S if model.staleness is None else model.staleness.total_seconds()
