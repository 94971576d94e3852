"""Documents in the two comparisons of whole read models, the demonstration's and the tests': equal ones are equal, a
changed field is found."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import tuple_factory
from psycopg.rows import tuple_row
from sqlalchemy import select

from command_api.process.settings import Cassandra, Projector, Settings
from deploy.local.demo_equal import compare
from deploy.local.demo_servers import TUPLES
from projections.cassandra_table import cassandra_table, write_timestamp
from projections.documents import embedded
from projections.read_model import ReadModel
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from projector.setup import set_up
from tests.e2e.compare import assert_equal, in_postgres
from tests.integration.test_documents_in_postgres import SEED, Connection, children, connection, fill, parents

__all__ = ["connection"]  # the fixture of the module that fills Postgres

OWN = (
    select(*(children.c[name] for name in ("ok", "big", "money", "txt", "id", "day", "ts", "tz")))
    .where(children.c.parent_id == parents.c.parent_id)
    .order_by(children.c.child_id)
)
MODEL = ReadModel(
    name="compared", select=select(parents.c.parent_id, *embedded("v", OWN, bound=30)), partition_key=("parent_id",)
)


@pytest.fixture
def settings(stack: Any, keyspace: str) -> Settings:
    host, port = stack.cassandra
    return Settings(
        cassandra=Cassandra(contact_points=(host,), port=port, keyspace=keyspace),
        projector=Projector(projection="test"),
    )


def test_equal_documents_are_equal_and_a_changed_field_is_found(
    connection: Connection, settings: Settings, cassandra_session: Session
) -> None:
    connection.execute("INSERT INTO parents SELECT generate_series(0, 2)")
    fill(connection, random.Random(SEED), 20, 1)
    keyspace, conninfo = settings.cassandra.keyspace, f"{connection.info.dsn} password={connection.info.password}"
    session = connect(settings.cassandra)
    profile = session.get_execution_profile(EXEC_PROFILE_DEFAULT)
    session.cluster.add_execution_profile(
        TUPLES, session.execution_profile_clone_update(profile, row_factory=tuple_factory)
    )
    try:
        set_up(session, settings, (MODEL,))
        writer = Writer(session)
        writer.prepare(cassandra_table(MODEL, keyspace))
        rows = [(*key, *others) for key, others in in_postgres(conninfo, MODEL).items()]
        writer.upsert(MODEL.name, rows, write_timestamp(1, 5))
        writer.drain()
        with psycopg.connect(conninfo, autocommit=True, row_factory=tuple_row) as reader:
            servers: Any = SimpleNamespace(settings=settings, postgres=reader, cassandra=session)
            reader.execute("SET TimeZone = 'UTC'")
            assert compare(servers, MODEL).equal
            assert assert_equal(cassandra_session, keyspace, conninfo, (MODEL,), "filled") == {MODEL.name: 3}
            reader.execute("UPDATE children SET money = coalesce(money, 0) + 0.01 WHERE child_id = 7")
            found = compare(servers, MODEL)
            assert (found.missing, found.surplus) == (1, 1)
            with pytest.raises(AssertionError, match="changed: compared differs from its SQL"):
                assert_equal(cassandra_session, keyspace, conninfo, (MODEL,), "changed")
    finally:
        close(session)
