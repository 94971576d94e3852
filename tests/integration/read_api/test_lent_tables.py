"""What one test leaves in the lent tables, the next one does not find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projections import ORDERS_BY_USER
from projections.read_model import ReadModel
from tests.integration.read_api.lent_tables import LentTables
from tests.integration.read_api.stand import ONE as ONE_MODEL

if TYPE_CHECKING:
    from cassandra.cluster import Session

ONE = "INSERT INTO {}.one (t, b) VALUES ('a', 1) USING TIMESTAMP 10"


def rows(session: Session, keyspace: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in session.execute(f"SELECT t, b FROM {keyspace}.one")]


def test_rows_tombstones_and_added_tables_are_gone(lent_tables: LentTables, cassandra_session: Session) -> None:
    with lent_tables.lent() as keyspace:
        assert rows(cassandra_session, keyspace) == []
        cassandra_session.execute(ONE.format(keyspace))
        cassandra_session.execute(f"DELETE FROM {keyspace}.one USING TIMESTAMP 20 WHERE t = 'a'")
        cassandra_session.execute(f"CREATE TABLE {keyspace}.added (a int PRIMARY KEY)")
    for _ in range(2):
        with lent_tables.lent() as again:
            assert again == keyspace
            cassandra_session.execute(ONE.format(keyspace))
            assert rows(cassandra_session, keyspace) == [("a", 1)]
            cassandra_session.execute(f"CREATE TABLE {keyspace}.added (b int PRIMARY KEY)")


def test_tables_of_one_more_read_model_stay_and_are_emptied(
    lent_tables: LentTables, cassandra_session: Session
) -> None:
    more = ReadModel(name="one_more", select=ONE_MODEL.select, partition_key=("t",))
    for _ in range(2):
        with lent_tables.lent() as keyspace:
            lent_tables.make(more, keyspace)
            assert cassandra_session.execute(f"SELECT t FROM {keyspace}.one_more").all() == []
            cassandra_session.execute(f"INSERT INTO {keyspace}.one_more (t, b) VALUES ('a', 1)")
    cassandra_session.execute(f"SELECT t FROM {keyspace}.one_more")


@pytest.mark.parametrize("change", ["DROP TABLE {}", "ALTER TABLE {} ADD more int", "ALTER TABLE {} DROP region"])
def test_a_changed_table_is_made_anew(lent_tables: LentTables, cassandra_session: Session, change: str) -> None:
    with lent_tables.lent() as keyspace:
        cassandra_session.execute(change.format(f"{keyspace}.{ORDERS_BY_USER.name}"))
    with lent_tables.lent() as other:
        assert other != keyspace
        columns = ", ".join(ORDERS_BY_USER.columns)
        assert cassandra_session.execute(f"SELECT {columns} FROM {other}.{ORDERS_BY_USER.name}").all() == []
    left = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s"
    assert cassandra_session.execute(left, (keyspace,)).all() == []
