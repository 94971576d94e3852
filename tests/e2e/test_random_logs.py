"""Two hundred short random histories through the real path; after each, whatever it may have changed equals its SQL.

The oracle tries many more logs on the core alone (`tests.oracle`); here the same declared views stand behind real
transactions, the relay, Kafka, the worker and Cassandra. LOCKSTEP_E2E_LOGS sets how many histories.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from random import Random

import psycopg
import pytest
from cassandra.cluster import Session

from projections.read_model import ReadModel
from projector.compile.program import compile_models
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline
from tests.e2e.transactions import Source
from tests.oracle import schema, views

LOGS = int(os.environ.get("LOCKSTEP_E2E_LOGS", "200"))
TABLES = tuple(schema.METADATA.sorted_tables)
ENDS = {"commit", "rollback", "rollback to savepoint", "insert", "update", "key_change", "delete", "truncate"}


def _readers() -> dict[str, frozenset[str]]:
    """Read model to the names of its source tables."""
    return {
        program.model.name: frozenset(table.name for table in program.analysis.source_tables())
        for program in compile_models(views.VIEWS).models
    }


def _changeable(tables: set[str]) -> set[str]:
    """The tables, and those that a cascade from them reaches."""
    return tables | {t.name for t in TABLES for key in t.foreign_keys if key.column.table.name in tables}


@pytest.mark.timeout(600)
def test_random_logs_end_as_their_sql_says(pipeline: Pipeline, cassandra_session: Session) -> None:
    """One worker, one growing log: each history ends with a comparison."""
    seed = secrets.randbits(32)
    rng, readers = Random(seed), _readers()
    admin = pipeline.settings.postgres.admin.get_secret_value()
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.oracle.schema:METADATA", "tables": tuple(f"public.{t.name}" for t in TABLES)},
        projector={"read_models": "tests.oracle.views:VIEWS", "metadata": "tests.oracle.schema:METADATA"},
    )
    keyspace, projection = pipeline.settings.cassandra.keyspace, pipeline.settings.projector.projection
    made, compared, rows = Counter[str](), Counter[str](), Counter[str]()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        compare.create_tables(connection, schema.METADATA)
        pipeline.set_up()
        with pipeline.running("relay", "projector"):
            for number in range(LOGS):
                tables = rng.sample(TABLES, rng.choice((1, 2, 2, 3, len(TABLES))))
                source = Source(connection, tables, schema.DOMAINS, rng, {})
                for _ in range(rng.choice((1, 2, 3, 6))):
                    source.transaction()
                made += source.made
                changed = _changeable({table.name for table in tables})
                models: tuple[ReadModel, ...] = tuple(m for m in views.VIEWS if readers[m.name] & changed)
                position = compare.flushed(admin)
                compare.wait_covered(
                    cassandra_session, keyspace, projection, models, position, seconds=60, pipeline=pipeline
                )
                found = compare.assert_equal(cassandra_session, keyspace, admin, models, f"seed {seed}, log {number}")
                compared.update(found.keys())
                rows.update(found)
    assert set(made) >= ENDS, f"seed {seed}: the logs had only {made}"
    assert set(compared) == set(readers), f"seed {seed}: never compared: {set(readers) - set(compared)}"
    assert len([name for name in rows if rows[name]]) > 0.9 * len(readers), f"seed {seed}: mostly empty: {rows}"
