"""What a deployment configures the engine with: the read models, named ``package:ATTRIBUTE``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from projections.read_model import ReadModel


class ConfigurationError(ValueError):
    """A setting that names nothing usable; the message names the setting."""


def load_read_models(name: str) -> tuple[ReadModel, ...]:
    """The read models that ``package:ATTRIBUTE`` names; raises ConfigurationError."""
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigurationError(
            f"projector.read_models: {name!r} is not package:ATTRIBUTE, as in projections:READ_MODELS"
        )
    try:
        models = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"projector.read_models: {name!r} can't be loaded: {error}") from error
    if not isinstance(models, Sequence) or not models or not all(isinstance(m, ReadModel) for m in models):
        raise ConfigurationError(f"projector.read_models: {name!r} must be a sequence of ReadModel, with at least one")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"projector.read_models: two read models of {name!r} share a name")
    for model in models:
        if model.fan_out is not None:
            missing = [beside.name for beside in (model.fan_out.pull, model.fan_out.following) if beside not in models]
            if missing:
                raise ConfigurationError(
                    f"projector.read_models: {name!r} has the feed {model.name} without {' and '.join(missing)}: its readers"
                    " need them, covered by the same workers"
                )
    return tuple(models)
