"""The keyspace, types and tables in Cassandra: made, described, and reset. Run by an operator, never by a worker."""

from __future__ import annotations

import json

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.cassandra_table import POSITIONS, cassandra_table, create_positions
from projections.dead_letters import COLUMN, create_dead_letters
from projections.feed_tables import feed_tables
from projections.generations import create_registry
from projections.read_model import ReadModel
from projector.generations.registry import Registry

_log = get_logger(__name__)
_TIMEOUT = 60.0


class SetupError(RuntimeError):
    """Cassandra refused a statement of the set-up."""


def statements(settings: Settings, models: tuple[ReadModel, ...]) -> list[str]:
    """Everything that `setup` runs, in order."""
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
    """Make what is missing; a table or type that is there stays as it is. Raises SetupError."""
    for statement in statements(settings, models):
        _execute(session, statement)
    registry = Registry(session, keyspace=settings.cassandra.keyspace, projection=settings.projector.projection)
    known = registry.read()
    for model in models:
        if model.name not in known:
            registry.register(model)
    _log.info("cassandra is set up", keyspace=settings.cassandra.keyspace, tables=[model.name for model in models])


def reset(session: Session, settings: Settings, models: tuple[ReadModel, ...]) -> None:
    """Drop the tables of read models with their positions, and make them anew, to be filled from the log."""
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    for model in models:
        rows = session.execute(
            f'SELECT shard, writetime(lsn) AS written FROM "{keyspace}"."{POSITIONS}"'
            " WHERE projection = %s AND read_model = %s",
            (projection, model.name),
        )
        for row in rows:
            session.execute(
                f'DELETE FROM "{keyspace}"."{POSITIONS}" USING TIMESTAMP {int(row.written)}'
                " WHERE projection = %s AND read_model = %s AND shard = %s",
                (projection, model.name, row.shard),
            )
        table = cassandra_table(model, keyspace)
        beside = feed_tables(model, keyspace)
        dropped = [*table.drop(), *(statement for side in beside for statement in side.drop())]
        for statement in (*dropped, *table.creation(), *(side.create() for side in beside)):
            _execute(session, statement)
        _log.info("read model is reset: stop its workers, delete their replicas, start them", read_model=model.name)


def _execute(session: Session, statement: str) -> None:
    try:
        session.execute(statement, timeout=_TIMEOUT)
    except (DriverException, NoHostAvailable) as error:
        raise SetupError(f"Cassandra refused: {statement.splitlines()[0]} …: {error}") from error
