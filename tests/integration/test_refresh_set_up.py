"""What `projector setup` makes in Postgres for scheduled read models, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import BigInteger, Integer, Text, cast, func, select

from command_api.process.settings import Settings
from command_api.tables import users
from projections.read_model import ReadModel
from projections.refreshed import SCHEMA, maintained, pseudo_table
from projector.refresh.connection import connected
from projector.refresh.errors import RefreshFailedError, RefreshSetupError
from projector.refresh.pseudo_tables import set_up_refresh
from projector.refresh.run import run

COUNTS = ReadModel(
    name="counts",
    select=select(users.c.name, func.count().label("users"), func.avg(users.c.version).label("mean")).group_by(
        users.c.name
    ),
    partition_key=("name",),
    refresh="15m",
)
CHANGED = replace(COUNTS, select=COUNTS.select.add_columns(func.max(users.c.version).label("most")))


@pytest.fixture
def settings(postgres: Any, database: str) -> Settings:
    """Of Postgres alone; the publication is there, as `relay setup` leaves it."""
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("create publication lockstep for table users")
    return Settings(postgres=postgres)


def tables(database: str) -> set[str]:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "select tablename::text from pg_publication_tables where pubname = 'lockstep' and schemaname = %s",
            (SCHEMA,),
        ).fetchall()
    return {name for (name,) in found}


def run_once(settings: Settings, model: ReadModel) -> int:
    refresher = settings.postgres.refresher.get_secret_value()
    with connected(refresher, model.name, setting="postgres.refresher", timeout_s=60) as connection:
        return run(connection, model, "lockstep").inserted


def test_the_table_has_the_declared_columns_and_key(settings: Settings, database: str) -> None:
    set_up_refresh(settings, [COUNTS])
    set_up_refresh(settings, [COUNTS])
    table = pseudo_table(COUNTS)
    assert tables(database) == {table.name}
    with psycopg.connect(database) as connection:
        columns = connection.execute(
            "select attname::text, format_type(atttypid, atttypmod), attnotnull from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 order by attnum",
            (table.fullname,),
        ).fetchall()
        identity = connection.execute(
            "select relreplident::text from pg_class where oid = %s::regclass", (table.fullname,)
        ).fetchone()
    assert columns == [("name", "text", True), ("users", "bigint", False), ("mean", "numeric", False)]
    assert identity == ("d",)
    assert maintained(COUNTS).columns == COUNTS.columns


def test_only_the_refresher_may_write(settings: Settings, database: str) -> None:
    set_up_refresh(settings, [COUNTS])
    rights = "select p from unnest(array['select','insert','update','delete','truncate']) p where"
    wanted = {
        "lockstep_refresher": {"select", "insert", "update", "delete"},
        "lockstep_relay": {"select"},
        "lockstep_reader": {"select"},
        "lockstep_command_api": set(),
    }
    with psycopg.connect(database) as connection:
        for role, right in wanted.items():
            has = connection.execute(
                f"{rights} has_table_privilege(%s, %s, p)", (role, pseudo_table(COUNTS).fullname)
            ).fetchall()
            assert {p for (p,) in has} == right, role
    private = ReadModel(
        name="keys", select=_text("select key from idempotency_keys"), partition_key=("key",), refresh="1h"
    )
    set_up_refresh(settings, [private])
    with pytest.raises(RefreshFailedError, match=r"InsufficientPrivilege.*postgres\.refresher"):
        run_once(settings, private)


def _text(words: str) -> Any:
    from sqlalchemy import text

    return text(words).columns(key=Text)


def test_another_key_or_other_columns_are_refused_until_the_table_is_made_anew(
    settings: Settings, database: str
) -> None:
    set_up_refresh(settings, [COUNTS])
    with psycopg.connect(database) as connection:
        connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
    assert run_once(settings, COUNTS) == 1
    with pytest.raises(RefreshSetupError, match="projector setup"):
        run_once(settings, CHANGED)
    with pytest.raises(RefreshSetupError, match=r"have changed.*projector setup --recreate counts.*projector reset"):
        set_up_refresh(settings, [CHANGED])
    assert tables(database) == {pseudo_table(COUNTS).name}
    set_up_refresh(settings, [CHANGED], recreate=["counts"])
    assert tables(database) == {pseudo_table(CHANGED).name}
    assert run_once(settings, CHANGED) == 1


def test_making_anew_a_table_that_fits_has_the_next_run_write_every_row(settings: Settings, database: str) -> None:
    set_up_refresh(settings, [COUNTS])
    with psycopg.connect(database) as connection:
        connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
    assert [run_once(settings, COUNTS), run_once(settings, COUNTS)] == [1, 0]
    set_up_refresh(settings, [COUNTS], recreate=["counts"])
    assert run_once(settings, COUNTS) == 1


def test_a_table_joins_the_publication_empty(settings: Settings, database: str) -> None:
    """Rows that it got while it was not published are in no log: they must be written again."""
    set_up_refresh(settings, [COUNTS])
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
        assert run_once(settings, COUNTS) == 1
        admin.execute("drop publication lockstep")
        with pytest.raises(RefreshSetupError, match=r"publication 'lockstep'.*projector setup"):
            run_once(settings, COUNTS)
        with pytest.raises(RefreshSetupError, match="relay setup"):
            set_up_refresh(settings, [COUNTS])
        admin.execute("create publication lockstep for table users")
    with pytest.raises(RefreshSetupError, match="not in the publication"):
        run_once(settings, COUNTS)
    set_up_refresh(settings, [COUNTS])
    assert run_once(settings, COUNTS) == 1


def test_a_name_to_make_anew_must_be_scheduled(settings: Settings) -> None:
    plain = ReadModel(name="plain", select=select(users.c.user_id), partition_key=("user_id",))
    with pytest.raises(RefreshSetupError, match="plain: no scheduled read model"):
        set_up_refresh(settings, [COUNTS, plain], recreate=["plain"])


def test_nothing_scheduled_needs_no_postgres() -> None:
    nowhere = Settings(postgres={"admin": "host=127.0.0.1 port=1 user=nobody dbname=none"})  # type: ignore[arg-type]
    set_up_refresh(nowhere, [ReadModel(name="plain", select=select(users.c.user_id), partition_key=("user_id",))])
    with pytest.raises(Exception, match=r"postgres\.admin"):
        set_up_refresh(nowhere, [COUNTS])


def test_tables_of_read_models_with_alike_names_are_told_apart(settings: Settings, database: str) -> None:
    digest = pseudo_table(COUNTS).name.rpartition("_")[2]
    other = replace(COUNTS, name=f"counts_{digest}")
    set_up_refresh(settings, [COUNTS, other])
    set_up_refresh(settings, [COUNTS, other], recreate=["counts"])
    assert tables(database) == {pseudo_table(COUNTS).name, pseudo_table(other).name}


def test_the_name_follows_columns_types_and_key() -> None:
    wider = replace(COUNTS, select=select(users.c.name, cast(users.c.version, BigInteger).label("users")))
    narrow = replace(COUNTS, select=select(users.c.name, cast(users.c.version, Integer).label("users")))
    keyed = replace(wider, partition_key=("name", "users"))
    names = [pseudo_table(model).name for model in (COUNTS, wider, narrow, keyed)]
    assert len(set(names)) == 4
    assert pseudo_table(replace(COUNTS, select=COUNTS.select.where(users.c.version > 1))).name == names[0]
