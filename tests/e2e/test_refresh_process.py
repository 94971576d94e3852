"""The process that refreshes on schedule: failures, a standby, and its death in the middle of a run."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from cassandra.cluster import Session
from psycopg import sql

from projections.read_model import ReadModel
from projections.refreshed import SCHEMA, pseudo_table
from tests.e2e import compare, scheduled
from tests.e2e.pipeline import Pipeline, Process, wait_for

GATED = """
    create function gated() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock_shared(1); return new; end $$;
    create trigger gated after insert on {table} for each row execute function gated();
"""
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and objid = 1 and not granted and database ="
WAITING += " (select oid from pg_database where datname = current_database())"


def metric(process: Process, name: str, **labels: str) -> float:
    """A sample of the process's endpoint, -1 when it is not there (yet)."""
    served = next((json.loads(line) for line in process.said().splitlines() if "metrics are served" in line), None)
    if served is None:
        return -1
    with urllib.request.urlopen(f"http://127.0.0.1:{served['port']}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    wanted = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    found = re.search(rf"^{name}{{{re.escape(wanted)}}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else -1


@contextmanager
def source(pipeline: Pipeline) -> Iterator[psycopg.Connection]:
    """A superuser's connection, with a user and three orders of versions 1, 2, 4."""
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ada')")
        connection.execute(
            "insert into orders (order_id, user_id, region, version)"
            " select gen_random_uuid(), user_id, 'eu', v from users, unnest(array[1, 2, 4]) v"
        )
        yield connection


def declared(pipeline: Pipeline, name: str) -> None:
    pipeline.settings = pipeline.with_settings(
        projector={"read_models": f"tests.e2e.scheduled:{name}"}, refresh={"retry_most_s": 0.5, "retry_first_s": 0.1}
    )


def held(connection: psycopg.Connection, model: ReadModel) -> list[tuple[object, ...]]:
    table = sql.Identifier(SCHEMA, pseudo_table(model).name)
    return connection.execute(sql.SQL("select * from {} order by 2").format(table)).fetchall()


@pytest.mark.timeout(120)
def test_a_failed_run_leaves_the_old_rows_says_so_and_heals(pipeline: Pipeline, cassandra_session: Session) -> None:
    declared(pipeline, "FAILING")
    settings, models = pipeline.settings, scheduled.FAILING
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    name = models[0].name

    def cassandra() -> list[int]:
        return sorted(key[0] for key in compare.in_cassandra(cassandra_session, keyspace, models[0]).values())

    with source(pipeline) as connection:
        pipeline.set_up()
        with pipeline.running("relay", "projector", "refresher") as (_, _, refresher):
            wait_for("the first run", lambda: cassandra() == [250, 500, 1000], 30, pipeline.logs)
            assert metric(refresher, "projection_refresh_failing", read_model=name) == 0
            connection.execute("update orders set version = 0 where version = 4")
            connection.execute("update orders set version = 8 where version = 2")
            wait_for(
                "the failure is a metric",
                lambda: metric(refresher, "projection_refresh_failing", read_model=name) == 1,
                15,
                pipeline.logs,
            )
            attempts = metric(refresher, "projection_refresh_runs_total", outcome="failed", read_model=name)
            wait_for(
                "it is tried again",
                lambda: (
                    metric(refresher, "projection_refresh_runs_total", outcome="failed", read_model=name) > attempts + 1
                ),
                15,
                pipeline.logs,
            )
            assert [row[1] for row in held(connection, models[0])] == [250, 500, 1000]
            assert cassandra() == [250, 500, 1000]
            assert "DivisionByZero" in refresher.said()
            connection.execute("update orders set version = 10 where version = 0")
            wait_for("it heals", lambda: cassandra() == [100, 125, 1000], 15, pipeline.logs)
            wait_for(
                "and the metric says so",
                lambda: metric(refresher, "projection_refresh_failing", read_model=name) == 0,
                15,
                pipeline.logs,
            )
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'lockstep refresh' and datname = current_database()"
            )
            connection.execute("update orders set version = 20 where version = 10")
            wait_for("it goes on", lambda: cassandra() == [50, 125, 1000], 15, pipeline.logs)
    compare.assert_equal(cassandra_session, keyspace, admin, models, "at the end")


def gated(pipeline: Pipeline, connection: psycopg.Connection, model: ReadModel) -> None:
    """Everything that a run needs when nobody reads the log, and a gate within its INSERT, which is shut."""
    name = sql.Identifier(pipeline.settings.relay.publication)
    connection.execute(sql.SQL("create publication {} for table users, orders").format(name))
    pipeline.run("projector", "setup")
    connection.execute(sql.SQL(GATED).format(table=sql.Identifier(SCHEMA, pseudo_table(model).name)))
    connection.execute("select pg_advisory_lock(1)")


def waiting(connection: psycopg.Connection) -> int:
    """Runs that stand at the gate."""
    row = connection.execute(WAITING.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_process_that_ends_in_the_middle_of_a_run_leaves_nothing_of_it(
    pipeline: Pipeline, number: signal.Signals
) -> None:
    declared(pipeline, "ONE")
    (model,) = scheduled.ONE
    with source(pipeline) as connection:
        gated(pipeline, connection, model)
        refresher = pipeline.start("refresher")
        wait_for("a run writes", lambda: waiting(connection) == 1, 30, refresher.tail)
        refresher.send(number)
        assert refresher.wait(10) == (0 if number is signal.SIGTERM else -number), refresher.tail()
        wait_for("Postgres ends it, and its lock", lambda: waiting(connection) == 0, 10)
        connection.execute("select pg_advisory_unlock(1)")
        assert held(connection, model) == []
        assert connection.execute(f"select count(*) from {SCHEMA}._runs").fetchone() == (0,)
        again = pipeline.start("refresher", log="again")
        wait_for("the next one runs", lambda: len(held(connection, model)) == 3, 30, again.tail)
        assert connection.execute(f"select inserted from {SCHEMA}._runs").fetchone() == (3,)
        assert again.stop() == 0


@pytest.mark.timeout(120)
def test_a_standby_leaves_a_run_to_the_one_that_has_it_and_takes_over(pipeline: Pipeline) -> None:
    declared(pipeline, "ONE")
    (model,) = scheduled.ONE
    done, busy = ({"outcome": outcome, "read_model": model.name} for outcome in ("done", "busy"))
    with source(pipeline) as connection:
        gated(pipeline, connection, model)
        first = pipeline.start("refresher")
        wait_for("a run writes", lambda: waiting(connection) == 1, 30, first.tail)
        standby = pipeline.start("refresher", log="standby")
        wait_for(
            "the standby says that it is busy",
            lambda: metric(standby, "projection_refresh_runs_total", **busy) >= 1,
            30,
            standby.tail,
        )
        assert waiting(connection) == 1, "two runs at once"
        first.kill()
        connection.execute("select pg_advisory_unlock(1)")
        wait_for(
            "the standby runs it",
            lambda: metric(standby, "projection_refresh_runs_total", **done) == 1,
            30,
            standby.tail,
        )
        assert len(held(connection, model)) == 3
        assert standby.stop() == 0


def test_a_process_without_its_table_ends_with_the_way_out(pipeline: Pipeline) -> None:
    declared(pipeline, "ONE")
    refresher = pipeline.start("refresher")
    assert refresher.wait(30) == 1
    assert "projector setup" in refresher.said()


def test_a_command_that_names_nothing_scheduled_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(AssertionError, match="no scheduled read model 'orders_by_user'"):
        pipeline.run("projector", "refresh", "orders_by_user")
