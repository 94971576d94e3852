"""Which generation a declaration belongs to: what a worker with it writes, and what is compared with its SQL. Pure.

A worker writes the live generation of each read model if that holds its declaration, and otherwise the newest one that does
and may be live: a worker that still has the declaration from before a switch keeps the old generation equal to it, so that
the way back takes one write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.cassandra_table import CassandraTable, cassandra_table
from projections.feed_tables import feed_tables
from projections.generations import Generation, Registered
from projections.read_model import ReadModel
from projections.shape import shape_of
from projector.generations.registry import Registry


def registry_of(session: Session, settings: Settings) -> Registry:
    """The registry that the settings name."""
    return Registry(session, keyspace=settings.cassandra.keyspace, projection=settings.projector.projection)


def written_by(of_model: Registered, model: ReadModel) -> Generation | None:
    """The generation that a worker with this declaration writes; None when none holds it. One of unknown shape does."""
    if not of_model.current.fingerprint:
        return of_model.current
    return of_model.written_by(shape_of(model).fingerprint)


def written(found: Mapping[str, Registered], models: Iterable[ReadModel]) -> dict[str, str]:
    """By read model, the table in Cassandra that a worker writes; the live one where no generation holds the declaration."""
    tables = {}
    for model in models:
        of_model = found[model.name]
        tables[model.name] = (written_by(of_model, model) or of_model.current).table
    return tables


def written_now(session: Session, settings: Settings, models: Iterable[ReadModel]) -> dict[str, str]:
    """`written`, asked for. Raises RegistryError."""
    models = tuple(models)
    return written(registry_of(session, settings).read(model.name for model in models), models)


def of_generation(model: ReadModel, keyspace: str, stored: str) -> tuple[CassandraTable, ...]:
    """A generation's tables: the read model's own, then those beside it."""
    return cassandra_table(model, keyspace, stored), *feed_tables(model, keyspace, stored)
