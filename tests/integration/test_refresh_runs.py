"""Runs of scheduled read models on a real Postgres: one commit or none, never two at once, exact or refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import JSON, Integer, Numeric, Text, cast, func, literal, select, text, type_coerce

from command_api.process.settings import Settings
from command_api.tables import users
from projections.read_model import ReadModel
from projections.refreshed import SCHEMA, pseudo_table
from projector.refresh.connection import connected
from projector.refresh.errors import (
    RefreshBusyError,
    RefreshError,
    RefreshFailedError,
    RefreshSetupError,
)
from projector.refresh.pseudo_tables import set_up_refresh
from projector.refresh.run import Run, look, run

NAMES = ReadModel(
    name="names",
    select=select(users.c.user_id, users.c.name, users.c.avatar_url),
    partition_key=("user_id",),
    refresh="1h",
)


@pytest.fixture
def settings(postgres: Any, database: str) -> Settings:
    """Of Postgres alone; the publication is there, as `relay setup` leaves it."""
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("create publication lockstep for table users, orders")
    return Settings(postgres=postgres)


@contextmanager
def session(settings: Settings, model: ReadModel) -> Iterator[psycopg.Connection]:
    with connected(
        settings.postgres.refresher.get_secret_value(), model.name, setting="postgres.refresher", timeout_s=60
    ) as connection:
        yield connection


def run_once(settings: Settings, model: ReadModel) -> Run:
    with session(settings, model) as connection:
        return run(connection, model, "lockstep")


def changes(done: Run) -> tuple[int, int, int]:
    return done.inserted, done.updated, done.deleted


def rows(database: str, model: ReadModel) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as connection:
        name = sql.Identifier(SCHEMA, pseudo_table(model).name)
        return connection.execute(sql.SQL("select * from {} order by 1").format(name)).fetchall()


def user(database: str, name: str, number: UUID | None = None) -> UUID:
    number = number or uuid4()
    with psycopg.connect(database) as connection:
        connection.execute("insert into users (user_id, name) values (%s, %s)", (number, name))
    return number


def test_a_run_writes_only_the_difference(settings: Settings, database: str) -> None:
    set_up_refresh(settings, [NAMES])
    ada, bob = user(database, "Ada"), user(database, "Bob")
    assert changes(run_once(settings, NAMES)) == (2, 0, 0)
    assert changes(run_once(settings, NAMES)) == (0, 0, 0)
    with psycopg.connect(database) as connection:
        before = dict(connection.execute(f"select user_id, xmin::text from {pseudo_table(NAMES).fullname}").fetchall())
        connection.execute("update users set avatar_url = '' where user_id = %s", (ada,))
    cyd = user(database, "Cyd")
    assert changes(run_once(settings, NAMES)) == (1, 1, 0)
    with psycopg.connect(database) as connection:
        after = dict(connection.execute(f"select user_id, xmin::text from {pseudo_table(NAMES).fullname}").fetchall())
        connection.execute("delete from users where user_id = %s", (ada,))
    assert after[bob] == before[bob], "a row without a difference was written"
    assert after[ada] != before[ada]
    assert changes(run_once(settings, NAMES)) == (0, 0, 1)
    assert {row[0] for row in rows(database, NAMES)} == {bob, cyd}


def test_the_lsn_is_at_or_after_the_commit(settings: Settings, database: str) -> None:
    set_up_refresh(settings, [NAMES])
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("select pg_create_logical_replication_slot('of_' || current_database(), 'pgoutput')")
        user(database, "Ada")
        done = run_once(settings, NAMES)
        commits = admin.execute(
            "select lsn - '0/0' from pg_logical_slot_peek_binary_changes('of_' || current_database(), null, null,"
            " 'proto_version', '1', 'publication_names', 'lockstep') where get_byte(data, 0) = ascii('C')"
        ).fetchall()
        admin.execute("select pg_drop_replication_slot('of_' || current_database())")
    assert len(commits) == 2, "of the insert and of the run"
    assert commits[-1][0] <= done.lsn


def test_null_and_byte_differences_are_seen(settings: Settings, database: str) -> None:
    words = text("select 'x' as id, '[1, 2]'::json as value")
    first = ReadModel(name="j", select=_typed(words), partition_key=("id",), refresh="1h")
    other = text("select 'x' as id, '[1,2]'::json as value")
    second = ReadModel(name="j", select=_typed(other), partition_key=("id",), refresh="1h")
    nothing = ReadModel(
        name="j", select=_typed(text("select 'x' as id, null::json as value")), partition_key=("id",), refresh="1h"
    )
    set_up_refresh(settings, [first])
    assert changes(run_once(settings, first)) == (1, 0, 0)
    for model in (second, nothing, first):
        assert changes(run_once(settings, model)) == (0, 1, 0)
        assert changes(run_once(settings, model)) == (0, 0, 0)


def _typed(words: Any) -> Any:
    return words.columns(id=Text, value=JSON)


def test_two_runs_at_once_are_impossible(settings: Settings, database: str) -> None:
    slow = ReadModel(
        name="slow",
        select=select(users.c.user_id, cast(func.pg_sleep(0.3), Text).label("slept"), users.c.name),
        partition_key=("user_id",),
        refresh="1h",
    )
    set_up_refresh(settings, [slow])
    user(database, "Ada")
    outcomes: list[Any] = []
    barrier = threading.Barrier(4)

    def one() -> None:
        barrier.wait()
        try:
            outcomes.append(changes(run_once(settings, slow)))
        except RefreshError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, outcomes)) == sorted(map(str, [(1, 0, 0)] + [RefreshBusyError] * 3))
    assert changes(run_once(settings, slow)) == (0, 0, 0), "the lock is free again"


def test_a_run_sees_the_last_runs_rows_however_they_meet(settings: Settings, database: str) -> None:
    """Many sessions in turn while the source changes: a snapshot older than another's commit would lose its rows."""
    set_up_refresh(settings, [NAMES])
    until = time.monotonic() + 4
    failures: list[BaseException] = []

    def runner() -> None:
        while time.monotonic() < until:
            try:
                run_once(settings, NAMES)
            except RefreshBusyError:
                continue
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=runner) for _ in range(3)]
    for thread in threads:
        thread.start()
    with psycopg.connect(database, autocommit=True) as source:
        number = 0
        while time.monotonic() < until:
            number += 1
            source.execute("insert into users (user_id, name) values (gen_random_uuid(), %s)", (f"n{number}",))
            source.execute("delete from users where name = %s", (f"n{number - 3}",))
    for thread in threads:
        thread.join(30)
    assert failures == []
    run_once(settings, NAMES)
    with psycopg.connect(database) as connection:
        expected = connection.execute("select user_id, name, avatar_url from users order by 1").fetchall()
    assert rows(database, NAMES) == expected
    assert number > 20


def test_sql_that_fails_leaves_the_old_rows(settings: Settings, database: str) -> None:
    model = ReadModel(
        name="quotients",
        select=select(users.c.user_id, cast(100 / func.char_length(users.c.name), Integer).label("quotient")),
        partition_key=("user_id",),
        refresh="1h",
    )
    set_up_refresh(settings, [model])
    ada = user(database, "Ada")
    run_once(settings, model)
    bad = user(database, "")
    with pytest.raises(RefreshFailedError, match="quotients: DivisionByZero"):
        run_once(settings, model)
    assert rows(database, model) == [(ada, 33)]
    with psycopg.connect(database) as connection:
        connection.execute("update users set name = 'Bo' where user_id = %s", (bad,))
    assert changes(run_once(settings, model)) == (1, 0, 0)


def test_values_that_the_declared_type_would_change_are_refused(settings: Settings, database: str) -> None:
    seventh = func.char_length(users.c.name) / cast(literal(7), Numeric)
    model = ReadModel(
        name="sevenths",
        select=select(users.c.user_id, type_coerce(seventh, Numeric(6, 2)).label("seventh")),
        partition_key=("user_id",),
        refresh="1h",
    )
    set_up_refresh(settings, [model])
    user(database, "Seven77")
    assert changes(run_once(settings, model)) == (1, 0, 0), "1.0000 is 1.00"
    user(database, "Ada")
    with pytest.raises(RefreshFailedError, match=r"does not fit the declared types \(seventh = 0.42857"):
        run_once(settings, model)
    assert len(rows(database, model)) == 1


def test_keys_must_identify_rows_and_never_be_null(settings: Settings, database: str) -> None:
    by_name = ReadModel(name="by_name", select=select(users.c.name), partition_key=("name",), refresh="1h")
    by_avatar = ReadModel(
        name="by_avatar", select=select(users.c.avatar_url), partition_key=("avatar_url",), refresh="1h"
    )
    set_up_refresh(settings, [by_name, by_avatar])
    for _ in range(2):
        user(database, "Ada")
    with pytest.raises(RefreshFailedError, match="must identify a row"):
        run_once(settings, by_name)
    with pytest.raises(RefreshFailedError, match="never be null"):
        run_once(settings, by_avatar)


def test_a_run_before_the_set_up_says_what_to_do(settings: Settings) -> None:
    with session(settings, NAMES) as connection, pytest.raises(RefreshSetupError, match="projector setup"):
        look(connection, NAMES)
    with pytest.raises(RefreshSetupError, match="projector setup"):
        run_once(settings, NAMES)
