"""The fixture of every test of the read API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from command_api.process.settings import Cassandra, Projector, ReadApi, Settings
from projections import READ_MODELS
from projections.cassandra_table import cassandra_table, create_positions
from projections.feed_tables import feed_tables
from tests.integration.read_api.stand import MODELS, Place

if TYPE_CHECKING:
    from cassandra.cluster import Session


@pytest.fixture
def place(stack: Any, cassandra_session: Session, keyspace: str) -> Place:
    """Tables of MODELS and READ_MODELS, all empty, no position."""
    host, port = stack.cassandra
    settings = Settings(
        cassandra=Cassandra(contact_points=(host,), port=port, keyspace=keyspace),
        projector=Projector(projection="test"),
        read_api=ReadApi(wait_ms=1_500, page_rows=100, max_page_rows=1_000, fallback_connections=0),
    )
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra_session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    cassandra_session.execute(create_positions(keyspace))
    for model in (*MODELS, *READ_MODELS):
        for table in (cassandra_table(model, keyspace), *feed_tables(model, keyspace)):
            for statement in table.creation():
                cassandra_session.execute(statement)
    return Place(session=cassandra_session, settings=settings)
