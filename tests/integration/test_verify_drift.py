"""`projector verify` while the source changes: every kind of drift is found and mended, and nothing else is reported."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from random import Random

import psycopg
import pytest
from cassandra.cluster import Session

from command_api.process.settings import Settings
from command_api.tables import orders, users
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, wait_for
from tests.e2e.transactions import Source
from tests.integration import verification
from tests.integration.verification import VIEWS, Damage, changing, place_orders, settle, verify
from tests.oracle import schema, views

DAMAGED = {model.name: model for model in verification.DAMAGED}


@pytest.fixture
def pipeline(settings: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(settings, tmp_path) as made:
        yield made


@pytest.mark.timeout(300)
def test_nothing_is_reported_falsely_while_keys_come_and_go(pipeline: Pipeline) -> None:
    seed = secrets.randbits(32)
    names = tuple(f"public.{table.name}" for table in schema.TABLES)
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.oracle.schema:METADATA", "tables": names},
        projector={"read_models": "tests.integration.verification:VIEWS", "metadata": "tests.oracle.schema:METADATA"},
    )
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        compare.create_tables(connection, schema.METADATA)
    pipeline.set_up()
    with (
        pipeline.running("relay", "projector"),
        changing(pipeline, schema.TABLES, seed, alone=True),
    ):
        compared = 0
        for number in range(2):
            outcome = verify(pipeline, "--all", "--json")
            assert outcome.status == 0, f"seed {seed}, run {number}: {outcome.said[-6_000:]}"
            assert set(outcome.reports) == {model.name for model in VIEWS}
            compared += sum(report["rows"] for report in outcome.reports.values())
    assert compared, f"seed {seed}: every read model was empty"


@pytest.mark.timeout(300)
def test_values_of_every_kind_are_taken_for_equal(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    admin = pipeline.settings.postgres.admin.get_secret_value()
    names = tuple(f"public.{table.name}" for table in schema.TABLES)
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.oracle.schema:METADATA", "tables": names},
        projector={"read_models": "tests.oracle.views:VIEWS", "metadata": "tests.oracle.schema:METADATA"},
    )
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        compare.create_tables(connection, schema.METADATA)
        source = Source(connection, schema.TABLES, schema.DOMAINS, Random(seed), {}, alone=False)
        for _ in range(150):
            source.transaction()
        for _ in range(1_000):  # most read models are to have rows when the changes stop
            if _with_rows(compare.all_in_postgres(admin, views.VIEWS).values()) > len(views.VIEWS) // 2:
                break
            source.transaction()
    pipeline.set_up()
    with pipeline.running("relay", "projector"):
        settle(pipeline, cassandra_session, views.VIEWS)
        outcome = verify(pipeline, "--all", "--json", seconds=200)
    assert outcome.status == 0, f"seed {seed}: {outcome.said[-6_000:]}"
    assert set(outcome.reports) == {model.name for model in views.VIEWS}
    assert not any(report["left_out"] or report["moving"] for report in outcome.reports.values())
    with_rows = _with_rows(range(report["rows"]) for report in outcome.reports.values())
    assert with_rows > len(views.VIEWS) // 2, f"seed {seed}: {with_rows}"


@pytest.mark.timeout(240)
def test_each_kind_of_drift_is_found_and_mended_under_load(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    admin = pipeline.settings.postgres.admin.get_secret_value()
    for name in DAMAGED:
        place_orders(pipeline, 20, f"of {name}")
    pipeline.declare("tests.integration.verification:DAMAGED")
    pipeline.set_up()
    with pipeline.running("relay", "projector"):
        for name in DAMAGED:
            place_orders(pipeline, 20, f"of {name}")  # with other write times than the snapshot's
        settle(pipeline, cassandra_session, tuple(DAMAGED.values()))
        with changing(pipeline, (users, orders), seed):
            done = {name: _damage(pipeline, cassandra_session, name) for name in DAMAGED}
            outcome = verify(pipeline, *DAMAGED, "--json")
            assert outcome.status == 1, f"seed {seed}: {outcome.said[-4_000:]}"
            for name, damage in done.items():
                assert outcome.keys(name) == damage.done, f"seed {seed}, {name}: {outcome.said[-4_000:]}"
                assert outcome.keys(name, "missing")
                assert outcome.keys(name, "extra")
                assert outcome.keys(name, "different")
            outcome = verify(pipeline, *DAMAGED, "--json", "--repair")
            assert outcome.status == 1
            for name, damage in done.items():
                report = outcome.reports[name]
                assert report["repaired"] == report["differing"] == len(damage.done), f"seed {seed}, {name}"
                assert report["mended"], f"seed {seed}, {name}: {outcome.said[-4_000:]}"
                assert not report["rebuilt"]
            outcome = verify(pipeline, *DAMAGED, "--json", "--repair")
            assert outcome.status == 0, f"seed {seed}: {outcome.said[-4_000:]}"
            assert all(report["left"] is None for report in outcome.reports.values())
        settle(pipeline, cassandra_session, tuple(DAMAGED.values()))
        compare.assert_equal(
            cassandra_session, pipeline.settings.cassandra.keyspace, admin, tuple(DAMAGED.values()), f"seed {seed}"
        )


def _with_rows(read_models: Iterable[Sized]) -> int:
    return sum(len(rows) > 0 for rows in read_models)


def _damage(pipeline: Pipeline, session: Session, name: str) -> Damage:
    """Every kind of drift, on rows that nobody else changes and no other read model's damage is done to."""
    damage = Damage(session, pipeline, DAMAGED[name])
    own = {row for row in damage.rows() if row.user_name == f"of {name}"}
    rows = iter(sorted(own, key=lambda row: (row.written, str(row))))
    damage.remove(next(rows))
    damage.set_cell(next(rows), "region", "elsewhere")
    damage.set_cell(next(rows), "region", "zz", above=0)  # of two equal timestamps the larger value shows
    damage.set_cell(next(rows), "region", None)
    row = next(rows)
    damage.insert(row, timestamp=row.written + 1, region="before")  # a whole older row, written late
    for timestamp in (damage.now(), damage.now() - 1_000, 1_700_000_000_000_000):  # the last: somebody's clock
        damage.insert(next(rows), timestamp=timestamp, order_id=uuid.uuid4())
    ghost = list(rows)[-1]
    return _ghost(pipeline, session, damage, ghost)


def _ghost(pipeline: Pipeline, session: Session, damage: Damage, row: object) -> Damage:
    """A row that the source has deleted, standing there again."""
    admin = pipeline.settings.postgres.admin.get_secret_value()
    order = row.order_id  # type: ignore[attr-defined]  # the driver's named tuple
    with psycopg.connect(admin) as connection:
        connection.execute("delete from orders where order_id = %s", (order,))
    settle(pipeline, session, tuple(DAMAGED.values()))
    wait_for("the row is gone", lambda: order not in {each.order_id for each in damage.rows()}, 10)
    damage.insert(row, timestamp=damage.now() + 1)
    return damage
