"""Scheduled read models through Postgres, relay, log, projector and Cassandra: equal to their SQL as of the last run."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from random import Random

import psycopg
import pytest
from cassandra.cluster import Session

from command_api.tables import orders, users
from projections.read_model import ReadModel
from tests.e2e import compare, scheduled
from tests.e2e.pipeline import Pipeline
from tests.e2e.transactions import Source
from tests.oracle import schema

RUNS, MOST_RUNS = 6, 20  # more than RUNS where chance has left out a kind of change


def _settle(pipeline: Pipeline, session: Session, models: tuple[ReadModel, ...]) -> None:
    settings = pipeline.settings
    position = compare.flushed(settings.postgres.admin.get_secret_value())
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    compare.wait_covered(session, keyspace, projection, models, position, seconds=60, pipeline=pipeline)


@pytest.mark.timeout(180)
def test_every_run_leaves_the_tables_equal_to_their_sql(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    models = scheduled.READ_MODELS
    names = tuple(model.name for model in models)
    plain = tuple(replace(model, refresh=None) for model in models)  # compared with their own SQL
    pipeline.settings = pipeline.with_settings(projector={"read_models": "tests.e2e.scheduled:READ_MODELS"})
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        source = Source(connection, (users, orders), schema.DOMAINS, Random(seed), {})
        pipeline.run("command_api.relay", "setup")
        with pipeline.running("relay"):
            pipeline.run("projector", "setup")  # the tables join the publication while the relay streams
            with pipeline.running("projector"):
                most, changes, number = dict.fromkeys(names, 0), [0, 0, 0], 0
                while number < RUNS or (number < MOST_RUNS and not (all(most.values()) and all(changes))):
                    number += 1
                    for _ in range(40):
                        source.transaction()
                    printed = pipeline.run("projector", "refresh", *names)
                    assert printed.count("LSN") == len(names), printed
                    _settle(pipeline, cassandra_session, models)
                    rows = compare.assert_equal(
                        cassandra_session, keyspace, admin, plain, f"seed {seed}, run {number}: {printed}"
                    )
                    most = {name: max(most[name], rows[name]) for name in names}
                    for done in re.findall(r"(\d+) inserted, (\d+) updated, (\d+) deleted", printed):
                        changes = [sum(pair) for pair in zip(changes, map(int, done), strict=True)]
                assert all(most.values()), f"seed {seed}: a read model was always empty: {most}"
                assert all(changes), f"seed {seed}: no run inserted, updated and deleted: {changes}"
                again = pipeline.run("projector", "refresh", *names)
                assert again.count("0 inserted, 0 updated, 0 deleted") == len(names), again
            for name in names:
                pipeline.run("projector", "reset", name)
            settings.projector.replica.unlink()
            with pipeline.running("projector"):  # the log alone rebuilds what the runs left
                _settle(pipeline, cassandra_session, models)
                compare.assert_equal(cassandra_session, keyspace, admin, models, f"seed {seed}, rebuilt")
