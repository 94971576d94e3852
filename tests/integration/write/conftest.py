"""A keyspace with a table, and a writer that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import Session

from command_api.process.settings import Cassandra
from projections.cassandra_table import CassandraTable
from projections.read_model import Clustering
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from tests.integration.write.stand import INT, TEXT


@pytest.fixture
def made(cassandra_session: Session, keyspace: str) -> str:
    """The test's keyspace, made."""
    cassandra_session.execute(
        f"create keyspace {keyspace} with replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    return keyspace


@pytest.fixture
def notes(cassandra_session: Session, made: str) -> CassandraTable:
    """A table (a, b) → v."""
    table = CassandraTable(
        keyspace=made,
        name="notes",
        columns={"a": INT, "b": INT, "v": TEXT},
        partition_key=("a",),
        clustering=(Clustering(column="b"),),
    )
    cassandra_session.execute(table.create())
    return table


@pytest.fixture
def session(stack: Any) -> Iterator[Session]:
    """The projector's session, straight to the server."""
    host, port = stack.cassandra
    session = connect(Cassandra(contact_points=(host,), port=port))
    yield session
    close(session)


@pytest.fixture
def writer(session: Session, notes: CassandraTable) -> Writer:
    writer = Writer(session)
    writer.prepare(notes)
    return writer
