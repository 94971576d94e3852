"""One rename with tens of thousands of copies on the whole path: nothing else waits for it, and nothing is lost of it."""

from __future__ import annotations

import re
import uuid
from typing import Any

import psycopg
import pytest
from cassandra.cluster import Session

import projections
from command_api.process.settings import Settings
from tests.e2e import compare
from tests.e2e.pipeline import Pipeline, Process, wait_for
from tests.http_client import HTTP

COPIES = 30_000
HELD_BACK = {"orders_by_user", "order_by_id", "orders_by_status"}
"""The read models with a row an order."""


def execute(settings: Settings, sql: str, *parameters: Any) -> int:
    """Run a statement on Postgres; a position at or after its commit."""
    admin = settings.postgres.admin.get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.encode(), parameters)
    return compare.flushed(admin)


def metrics(process: Process) -> dict[str, float]:
    """What a worker exports, by metric and read model."""
    found = re.search(r'"port": (\d+), "event": "metrics are served"', process.said())
    assert found is not None, process.tail()
    text = HTTP.get(f"http://127.0.0.1:{found[1]}/metrics").text
    pattern = re.compile(r'^(\w+)\{read_model="(\w+)"\} (\S+)$', re.MULTILINE)
    return {f"{name} {model}": float(value) for name, model, value in pattern.findall(text)}


@pytest.mark.timeout(300)
def test_a_large_rename_is_worked_off_beside_everything_else(pipeline: Pipeline, cassandra_session: Session) -> None:
    settings = pipeline.with_settings(projector={"put_aside_above": 1_000, "slice_keys": 50, "slice_share": 0.3})
    keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
    pipeline.set_up()
    author, other = uuid.uuid4(), uuid.uuid4()
    execute(settings, "insert into users (user_id, name) values (%s, 'Ada'), (%s, 'Bob')", author, other)
    loaded = execute(
        settings,
        "insert into orders (order_id, user_id, region, created_at) select gen_random_uuid(), %s, 'eu',"
        f" timestamptz '2026-01-01' + n * interval '1 minute' from generate_series(1, {COPIES}) n",
        author,
    )

    def positions() -> dict[str, int]:
        return compare.positions(cassandra_session, keyspace, projection)

    def cover(lsn: int, models: Any, seconds: float) -> None:
        compare.wait_covered(cassandra_session, keyspace, projection, models, lsn, seconds=seconds, pipeline=pipeline)

    with pipeline.running("relay"):
        worker = pipeline.start("projector", settings=settings)
        cover(loaded, projections.READ_MODELS, 120)
        renamed = execute(settings, "update users set name = 'Countess' where user_id = %s", author)
        posted = execute(
            settings, "insert into posts (post_id, author_id, body) values (gen_random_uuid(), %s, 'hello')", other
        )
        others = [model for model in projections.READ_MODELS if model.name not in HELD_BACK]
        cover(posted, others, 10)
        held = positions()
        behind = {name for name in held if held[name] < renamed}
        assert behind, "models with copies say that they are behind"
        assert behind <= HELD_BACK
        found = metrics(worker)
        assert sum(found.get(f"projection_put_aside_keys {name}", 0) for name in HELD_BACK) > 0

        for again in range(4):  # killed wherever it is; a second and a third rename while the first is under way
            worker.kill()
            worker = pipeline.start("projector", settings=settings)
            execute(settings, "update users set name = %s where user_id = %s", f"Countess {again}", author)
            execute(settings, "delete from orders where order_id in (select order_id from orders limit 5)")
            wait_for("the worker is back", lambda back=worker: "reading the log" in back.said(), 30, worker.tail)
            assert any(positions()[name] < renamed for name in HELD_BACK), "it is still under way"
        last = execute(settings, "update users set name = 'Lovelace' where user_id = %s", author)
        cover(last, projections.READ_MODELS, 180)
        found = metrics(worker)
        assert all(found.get(f"projection_put_aside_changes {name}", 0) == 0 for name in HELD_BACK)
        assert worker.stop() == 0, worker.tail()
    admin = settings.postgres.admin.get_secret_value()
    compare.assert_equal(cassandra_session, keyspace, admin, projections.INCREMENTAL, "after the renames")
