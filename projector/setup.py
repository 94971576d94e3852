"""The keyspace, types and tables in Cassandra: made, described, and reset. Run by an operator, never by a worker."""

from __future__ import annotations

import json

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.added_columns import is_of
from projections.cassandra_table import POSITIONS, cassandra_table, create_positions
from projections.dead_letters import COLUMN, create_dead_letters
from projections.feed_tables import feed_tables
from projections.generations import create_registry, unregistered
from projections.read_model import ReadModel
from projections.shape import shape_of
from projector.generations.fitting import add_columns, check_unregistered
from projector.generations.tables import of_generation, registry_of, written_by

_log = get_logger(__name__)
_TIMEOUT = 60.0


class SetupError(RuntimeError):
    """Cassandra refused a statement of the set-up."""


def statements(settings: Settings, models: tuple[ReadModel, ...]) -> list[str]:
    """Everything that `setup` runs where nothing is there yet, in order."""
    keyspace = settings.cassandra.keyspace
    replication = json.dumps(settings.cassandra.replication).replace('"', "'")
    return [
        f'CREATE KEYSPACE IF NOT EXISTS "{keyspace}" WITH replication = {replication}',
        create_positions(keyspace),
        # One that was made before there were dead letters lacks their number.
        f'ALTER TABLE "{keyspace}"."{POSITIONS}" ADD IF NOT EXISTS {COLUMN} int',
        create_dead_letters(keyspace),
        create_registry(keyspace),
        *(statement for model in models for statement in cassandra_table(model, keyspace).creation()),
        *(table.create() for model in models for table in feed_tables(model, keyspace)),
    ]


def set_up(session: Session, settings: Settings, models: tuple[ReadModel, ...]) -> None:
    """Make what is missing, columns too; a table or type that is there stays as it is. Raises SetupError, GenerationError."""
    for statement in statements(settings, ()):
        _execute(session, statement)
    registry = registry_of(session, settings)
    known = registry.read()
    for model in models:
        generation = written_by(known[model.name], model) if model.name in known else unregistered(model.name).current
        if generation is not None:  # nor is a first generation that was dropped made anew
            for table in of_generation(model, settings.cassandra.keyspace, generation.table):
                for statement in table.creation():
                    _execute(session, statement)
        if model.name not in known:
            check_unregistered(session, cassandra_table(model, settings.cassandra.keyspace))
            registry.register(model)
    add_columns(session, settings, models, lambda statement: _execute(session, statement))
    _log.info("cassandra is set up", keyspace=settings.cassandra.keyspace, tables=[model.name for model in models])


def reset(session: Session, settings: Settings, models: tuple[ReadModel, ...]) -> None:
    """Drop the tables of read models with their positions, and make them anew as declared, to be filled from the log."""
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    registry = registry_of(session, settings)
    found = registry.read(model.name for model in models)
    for model in models:
        generation = written_by(found[model.name], model) or found[model.name].current
        rows = session.execute(
            f'SELECT read_model, shard, writetime(lsn) AS written FROM "{keyspace}"."{POSITIONS}" WHERE projection = %s',
            (projection,),
        )
        for row in rows:
            if row.written is not None and is_of(row.read_model, generation.table):
                session.execute(
                    f'DELETE FROM "{keyspace}"."{POSITIONS}" USING TIMESTAMP {int(row.written)}'
                    " WHERE projection = %s AND read_model = %s AND shard = %s",
                    (projection, row.read_model, row.shard),
                )
        own, *beside = of_generation(model, keyspace, generation.table)
        dropped = [*own.drop(), *(statement for side in beside for statement in side.drop())]
        for statement in (*dropped, *own.creation(), *(side.create() for side in beside)):
            _execute(session, statement)
        if not generation.fingerprint:
            registry.register(model)
        elif generation.fingerprint != shape_of(model).fingerprint:
            registry.reshape(generation, shape_of(model))
        _log.info("read model is reset: stop its workers, delete their replicas, start them", read_model=model.name)


def _execute(session: Session, statement: str) -> None:
    try:
        session.execute(statement, timeout=_TIMEOUT)
    except (DriverException, NoHostAvailable) as error:
        raise SetupError(f"Cassandra refused: {statement.splitlines()[0]} …: {error}") from error
