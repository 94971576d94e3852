"""The migrations against a real Postgres: they agree with the metadata, may overlap, and give each role just its rights."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, NullPool, create_engine

from command_api.migrations.apply import LOCK, MigrationError, configuration, migrate
from command_api.process.settings import Postgres
from command_api.tables import METADATA
from command_api.tables.idempotency import PRIVATE

HEAD = ScriptDirectory.from_config(configuration()).get_current_head()
SOURCE = tuple(table.name for table in METADATA.sorted_tables)


@pytest.fixture
def alchemy(database: str) -> Iterator[Connection]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def test_metadata_and_migrations_agree(alchemy: Connection) -> None:
    context = MigrationContext.configure(alchemy, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, [METADATA, PRIVATE]) == []


def test_check_constraints_agree_with_the_metadata(alchemy: Connection) -> None:
    # Alembic compares no check constraints' texts: have Postgres print both.
    def checks() -> dict[str, str]:
        rows = alchemy.exec_driver_sql(
            "select conname, pg_get_constraintdef(oid) from pg_constraint where contype = 'c'"
            " and connamespace = current_schema()::regnamespace"
        )
        return dict(rows.all())

    migrated = checks()
    assert migrated
    alchemy.exec_driver_sql("create schema fresh")
    alchemy.exec_driver_sql("set search_path = fresh")
    METADATA.create_all(alchemy)
    PRIVATE.create_all(alchemy)
    assert checks() == migrated


def test_a_second_run_changes_nothing(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
    assert migrate(Postgres(admin=database)) == HEAD  # type: ignore[arg-type]
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from users").fetchone() == (1,)


def test_down_and_up_again(alchemy: Connection) -> None:
    config = configuration()
    config.attributes["connection"] = alchemy
    command.downgrade(config, "base")
    assert alchemy.exec_driver_sql("select to_regclass('users')").scalar() is None
    command.upgrade(config, "head")
    assert alchemy.exec_driver_sql("select to_regclass('users')").scalar() is not None


def test_a_run_waits_for_another_on_the_same_database(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK,))
        thread = threading.Thread(target=migrate, args=(Postgres(admin=empty_database),))  # type: ignore[arg-type]
        thread.start()
        waiting = (
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        deadline = time.monotonic() + 30
        while other.execute(waiting).fetchone() != (1,):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert other.execute("select to_regclass('users')").fetchone() == (None,)
        other.execute("select pg_advisory_unlock(%s)", (LOCK,))
        thread.join(30)
        assert other.execute("select version_num from alembic_version").fetchall() == [(HEAD,)]


def test_an_unreachable_server_is_named_with_a_way_out() -> None:
    with pytest.raises(MigrationError, match="LOCKSTEP_POSTGRES__ADMIN"):
        migrate(Postgres(admin="host=127.0.0.1 port=1 user=postgres dbname=app"))  # type: ignore[arg-type]


def _rights(database: str, role: str, table: str) -> set[str]:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select p from unnest(array['select','insert','update','delete','truncate','references','trigger']) as p"
            " where has_table_privilege(%s, %s, p)",
            (role, table),
        ).fetchall()
    return {row[0] for row in rows}


@pytest.mark.parametrize("table", SOURCE)
def test_roles_have_just_their_rights_on_source_tables(database: str, table: str) -> None:
    assert _rights(database, "lockstep_command_api", table) == {"select", "insert", "update", "delete"}
    assert _rights(database, "lockstep_relay", table) == {"select"}
    assert _rights(database, "lockstep_reader", table) == {"select"}
    assert _rights(database, "lockstep_refresher", table) == {"select"}


def test_only_the_command_api_sees_the_keys_and_only_the_relay_replicates(database: str) -> None:
    assert _rights(database, "lockstep_command_api", "idempotency_keys") == {"select", "insert", "update", "delete"}
    assert _rights(database, "lockstep_relay", "idempotency_keys") == set()
    assert _rights(database, "lockstep_reader", "idempotency_keys") == set()
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select rolname, rolreplication, rolsuper or rolcreaterole or rolcreatedb from pg_roles"
            " where rolname in ('lockstep_command_api', 'lockstep_relay', 'lockstep_reader', 'lockstep_refresher') order by 1"
        ).fetchall()
    assert rows == [
        ("lockstep_command_api", False, False),
        ("lockstep_reader", False, False),
        ("lockstep_refresher", False, False),
        ("lockstep_relay", True, False),
    ]


def test_a_reader_can_not_write(database: str, postgres: Postgres) -> None:
    with (
        psycopg.connect(postgres.reader.get_secret_value()) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")


def test_passwords_are_stored_as_scram_verifiers(database: str, postgres: Postgres) -> None:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select left(rolpassword, 14) from pg_authid where rolname like 'lockstep\\_%'"
        ).fetchall()
    assert rows == [("SCRAM-SHA-256$",)] * 4


def test_a_user_of_another_name_is_left_alone(database: str) -> None:
    conninfo = make_conninfo(database, user="someone_else", password="x")
    assert migrate(Postgres(admin=database, reader=conninfo)) == HEAD  # type: ignore[arg-type]
    with psycopg.connect(database) as connection:
        assert connection.execute("select from pg_roles where rolname = 'someone_else'").fetchone() is None
