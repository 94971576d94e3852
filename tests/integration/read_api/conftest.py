"""The fixture of every test of the read API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from command_api.process.settings import Cassandra, Projector, ReadApi, Settings
from tests.integration.read_api.lent_tables import LentTables
from tests.integration.read_api.stand import Place

if TYPE_CHECKING:
    from cassandra.cluster import Session


@pytest.fixture(scope="session")
def lent_tables(cassandra_session: Session) -> Iterator[LentTables]:
    """Of the session's Cassandra."""
    made = LentTables(cassandra_session)
    yield made
    made.close()


@pytest.fixture
def place(stack: Any, cassandra_session: Session, lent_tables: LentTables) -> Iterator[Place]:
    """Tables of MODELS and READ_MODELS, all empty, no position."""
    host, port = stack.cassandra
    with lent_tables.lent() as keyspace:
        settings = Settings(
            cassandra=Cassandra(contact_points=(host,), port=port, keyspace=keyspace),
            projector=Projector(projection="test"),
            read_api=ReadApi(wait_ms=1_500, page_rows=100, max_page_rows=1_000, fallback_connections=0),
        )
        yield Place(session=cassandra_session, settings=settings, make=lambda model: lent_tables.make(model, keyspace))
