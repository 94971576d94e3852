"""Which read models are served: ``settings.read_api.read_models``, ``package:ATTRIBUTE``, as routes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from command_api.process.settings import Settings
from projections.cassandra_table import cassandra_table
from projections.read_model import DeclarationError, ReadModel
from read_api.request import Route


class ReadModelsNotFoundError(ValueError):
    """The setting names nothing that is a sequence of read models; the message says what was found."""


def load_read_models(reference: str) -> tuple[ReadModel, ...]:
    """The read models of ``package:ATTRIBUTE``; raises ReadModelsNotFoundError."""
    remedy = "set LOCKSTEP_READ_API__READ_MODELS to package:ATTRIBUTE of a sequence of ReadModel"
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise ReadModelsNotFoundError(f"{reference!r} is not of the form package:ATTRIBUTE: {remedy}")
    try:
        models = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ReadModelsNotFoundError(f"{reference!r} can't be loaded: {error}: {remedy}") from error
    except DeclarationError as error:
        raise ReadModelsNotFoundError(f"{reference!r} can't be loaded: {error}") from error
    if not isinstance(models, Sequence) or not all(isinstance(model, ReadModel) for model in models):
        raise ReadModelsNotFoundError(f"{reference!r} is no sequence of ReadModel: {remedy}")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ReadModelsNotFoundError(f"{reference!r} declares a name twice: {', '.join(sorted(names))}")
    return tuple(models)


def routes_of(settings: Settings, models: Sequence[ReadModel]) -> dict[str, Route]:
    """Model name to route; raises RouteConflictError, ReadModelsNotFoundError for what a read model needs beside it."""
    names = {model.name for model in models}
    for model in models:
        if model.bucket is not None and model.bucket.index.name not in names:
            raise ReadModelsNotFoundError(
                f"{model.name} is read with the buckets of {model.bucket.index.name}, which is not among the read models"
            )
        for beside in (model.fan_out.pull, model.fan_out.following) if model.fan_out is not None else ():
            if beside.name not in names:
                raise ReadModelsNotFoundError(
                    f"{model.name} is merged with {beside.name}, which is not among the read models"
                )
    return {
        model.name: Route(
            table=cassandra_table(model, settings.cassandra.keyspace),
            default_limit=min(settings.read_api.page_rows, settings.read_api.max_page_rows),
            max_limit=settings.read_api.max_page_rows,
            bucket=model.bucket,
        )
        for model in models
    }
