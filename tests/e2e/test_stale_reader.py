"""The judge of reads can fail: a reader that takes the rows before the position is caught.

That reader is right almost always: only when the worker writes between its two reads does it show old rows under a
position that covers the token. So it reads with a pause of a few milliseconds between the two, the time that a busy
server takes, and is given a few hundred tries.
"""

from __future__ import annotations

import secrets
import threading
import time
from random import Random
from typing import Any
from uuid import UUID

import pytest
from cassandra.cluster import Session

from command_api.lsn import Lsn
from projections.cassandra_table import POSITIONS
from tests.e2e.pipeline import Pipeline, wait_for
from tests.e2e.tokens import Read, Writer

COLUMNS = {"order_by_id": "order_id", "orders_by_user": "user_id"}


def reader(session: Session, keyspace: str, projection: str, *, rows_first: bool) -> Read:
    """Reads Cassandra itself, in one of the two orders; waits up to a second for the token's position."""

    def position(model: str) -> int:
        row = session.execute(
            f'SELECT lsn FROM "{keyspace}"."{POSITIONS}" WHERE projection = %s AND read_model = %s', (projection, model)
        ).one()
        return row.lsn if row else -1

    def rows(path: str) -> list[dict[str, Any]]:
        model, *key = path.partition("?")[0].split("/")
        if model == "orders_by_status":
            where, values = "status = %s AND day = %s", tuple(key)
        else:
            where, values = f"{COLUMNS[model]} = %s", (UUID(key[0]),)
        found = session.execute(f'SELECT order_id, region FROM "{keyspace}"."{model}" WHERE {where}', values)
        return [{"order_id": str(row.order_id), "region": row.region} for row in found]

    def read(path: str, token: str) -> list[dict[str, Any]] | None:
        model, lsn = path.split("/")[0], Lsn.parse(token)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            if rows_first:
                found = rows(path)
                time.sleep(0.005)  # widens the gap that this reader is wrong by
                if position(model) >= lsn:
                    return found
            elif position(model) >= lsn:
                time.sleep(0.005)  # the same gap for the right order; the deadline is the loop
                return rows(path)
        return None

    return read


@pytest.mark.timeout(120)
def test_rows_read_before_the_position_are_caught(pipeline: Pipeline, cassandra_session: Session) -> None:
    seed = secrets.randbits(32)
    pipeline.declare("tests.e2e.models:ORDERS")
    settings = pipeline.settings
    pipeline.set_up()
    stop = threading.Event()
    writers = {
        rows_first: Writer(
            settings.postgres.admin.get_secret_value(),
            reader(
                cassandra_session, settings.cassandra.keyspace, settings.projector.projection, rows_first=rows_first
            ),
            Random(seed + rows_first),
            stop,
        )
        for rows_first in (True, False)
    }
    with pipeline.running("relay", "projector"):
        for writer in writers.values():
            writer.start()
        try:
            wait_for(
                "the reader that takes rows first is caught, the other read as often",
                lambda: writers[True].tally.stale and writers[False].tally.verified.total() >= 100,
                60,
                lambda: f"seed {seed}: {writers[True].tally}, {writers[False].tally}, {pipeline.logs()}",
            )
        finally:
            stop.set()
            for writer in writers.values():
                writer.join(30)
    for writer in writers.values():
        assert writer.error is None, repr(writer.error)
    assert not writers[False].tally.stale, f"seed {seed}: position first was stale: {writers[False].tally.stale[:3]}"
