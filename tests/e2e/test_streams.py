"""A partition's changes as they are pushed: all of them, deletes too, soon after they are covered, and after a break."""

from __future__ import annotations

import statistics
import time
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.e2e.events import Listener
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.http_client import HTTP

USER = UUID(int=7)


def place(connection: psycopg.Connection[Any], order: UUID, status: str = "placed") -> None:
    connection.execute(
        "insert into orders (order_id, user_id, status, region, created_at) values (%s, %s, %s, 'eu', '2024-03-05 12:00+00')"
        " on conflict (order_id) do update set status = excluded.status",
        (order, USER, status),
    )


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["created_at"], row["order_id"]


@pytest.mark.timeout(150)
def test_watchers_see_what_readers_see_whatever_breaks_in_between(pipeline: Pipeline) -> None:
    pipeline.declare("tests.e2e.models:ORDERS")
    pipeline.set_up()
    path = f"/read/orders_by_user/{USER}"
    with (
        pipeline.running("relay", "projector", "read-api") as (_, projector, reader),
        psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection,
        httpx.Client(base_url=listening(reader), trust_env=False, timeout=30) as client,
    ):
        connection.execute("insert into users (user_id, name) values (%s, 'Ada')", (USER,))

        def shown() -> dict[Any, Any]:
            token = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
            assert token is not None
            reply = client.get(path, headers={"Consistency-Token": token[0]})
            assert reply.status_code == 200, (reply.text, projector.tail())
            return {key(row): row for row in reply.json()["rows"]}

        wait_for(
            "the path works", lambda: client.get(path).json().get("covered_lsn", "0/0") != "0/0", 30, projector.tail
        )
        listener = Listener(listening(reader), path, key)
        assert listener.opened.wait(30), listener.error
        orders = [uuid4() for _ in range(12)]
        delays = []
        for number, order in enumerate(orders):
            place(connection, order)
            expected = shown()
            covered = time.monotonic()
            wait_for(
                f"order {number} is pushed", lambda expected=expected: listener.rows == expected, 10, projector.tail
            )
            delays.append(listener.events[-1][0] - covered)
        place(connection, orders[0], "paid")
        connection.execute("delete from orders where order_id = %s", (orders[1],))
        expected = shown()
        wait_for("a delete is pushed", lambda: listener.rows == expected and len(expected) == 11, 10)
        # From the moment when a read shows it; what is later than this comes by looking around, not by being told.
        assert statistics.median(delays) < 0.25, delays
        listener.stop()

        connection.execute("delete from orders where order_id = %s", (orders[2],))
        place(connection, orders[3], "paid")
        shown()
        other = pipeline.start("read-api", log="other-read-api")
        there = f"{listening(other)}{path}"
        wait_for("the other one reads", lambda: HTTP.get(there).status_code == 200, 30, other.tail)
        for again in (
            Listener(listening(reader), path, key, listener),
            Listener(listening(other), path, key, listener),
        ):
            wait_for(
                "what was missed is there",
                lambda again=again: again.rows == shown(),
                20,
                lambda again=again: f"error {again.error!r}, events {again.events}, shown {shown()} {other.tail()}",
            )
            again.stop()
        same = Listener(listening(other), path, key, again)
        assert same.opened.wait(30)
        assert not same.events  # nothing was missed
        assert other.stop() == 0, other.tail()  # a stream does not hold up the end
        same.stop()
