"""A path of its own for a measurement: database, topic, keyspace, and the project's processes over them, all removed after it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from command_api.migrations.apply import migrate
from command_api.process.settings import Postgres, Settings
from projector.cassandra.session import close, connect
from tests.bench.filled_log import drop_topic
from tests.e2e.pipeline import Pipeline

_ROLES = ("admin", "relay", "reader", "command_api", "refresher")


@contextmanager
def prepared(settings: Settings, name: str, read_models: str) -> Iterator[Pipeline]:
    """A pipeline, set up, of which nothing runs yet. read_models: ``package:ATTRIBUTE``."""
    name = f"bench_{name}_{secrets.token_hex(4)}"
    admin = settings.postgres.admin.get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    with tempfile.TemporaryDirectory() as folder:
        own = _settings(settings, name, read_models, Path(folder))
        try:
            migrate(own.postgres)
            with Pipeline(own, Path(folder), fresh=True) as pipeline:
                pipeline.set_up()
                yield pipeline
        finally:
            _remove(own, name, admin)


def _settings(settings: Settings, name: str, read_models: str, folder: Path) -> Settings:
    database = SecretStr(make_conninfo(settings.postgres.admin.get_secret_value(), dbname=name))
    projector = {
        "projection": name,
        "replica": folder / "replica.sqlite",
        "metrics_port": 0,
        "read_models": read_models,
    }
    return settings.model_copy(
        update={
            "postgres": Postgres(**dict.fromkeys(_ROLES, database)),
            "kafka": settings.kafka.model_copy(update={"topic": name, "group_id": name}),
            "cassandra": settings.cassandra.model_copy(update={"keyspace": name}),
            "relay": settings.relay.model_copy(update={"slot": name, "publication": name, "metrics_port": 0}),
            "projector": settings.projector.model_copy(update=projector),
        }
    )


def _remove(own: Settings, name: str, admin: str) -> None:
    drop_topic(own.kafka)
    session = connect(own.cassandra)
    session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
    close(session)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", (name,)
        )
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
