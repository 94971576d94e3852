"""What a worker and a relay do when they can't go on, and how they go on afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cassandra.cluster import Session
from confluent_kafka import Producer

from projections.cassandra_table import cassandra_table
from tests.e2e import compare, models
from tests.e2e.pipeline import Pipeline, Process, wait_for
from tests.http_client import HTTP

GARBAGE = b'{"op": "u", "after": \xff not of the relay'
ORDERS = """
    with u as (insert into users (user_id, name) values (gen_random_uuid(), '{name}') returning user_id)
    insert into orders (order_id, user_id, status, region, created_at)
    select gen_random_uuid(), user_id, 'placed', repeat('r', {width}), timestamptz '2024-03-01' + i * interval '1 min'
    from u, generate_series(1, {count}) i
"""


def _orders(pipeline: Pipeline, count: int, name: str = "Ada", width: int = 2) -> None:
    """Place orders of a new user in one transaction."""
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value()) as connection:
        connection.execute(ORDERS.format(name=name, count=count, width=width).encode())


def _settled(pipeline: Pipeline, session: Session, seconds: float = 60) -> None:
    compare.settled(pipeline, session, models.ORDERS, "after the stop", seconds=seconds)


def _garbage(pipeline: Pipeline) -> int:
    """Put a record into the log that is none of the relay's; its offset."""
    kafka = pipeline.settings.kafka
    offsets: list[int] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 3})
    producer.produce(kafka.topic, GARBAGE, on_delivery=lambda error, message: offsets.append(message.offset()))
    assert producer.flush(20) == 0
    return offsets[0]


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    pipeline.declare("tests.e2e.models:ORDERS")
    return pipeline


@pytest.mark.timeout(120)
def test_a_record_that_is_not_the_relays_stops_the_worker_until_it_is_skipped(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    pipeline.set_up()
    _orders(pipeline, 5)
    worker = pipeline.start("projector")
    with pipeline.running("relay"):
        _settled(pipeline, cassandra_session)
        offset = _garbage(pipeline)
        assert worker.wait(20) == 1
        said = worker.said()
        assert f"log offset {offset}" in said
        assert f"projector skip --offset {offset}" in said
        assert "Traceback" not in said
        _orders(pipeline, 5)
        assert pipeline.start("projector", log="again").wait(30) == 1, "it must not go past the record by itself"
        pipeline.run("projector", "skip", "--offset", str(offset))
        with pipeline.running("projector"):
            _settled(pipeline, cassandra_session)


@pytest.mark.timeout(120)
def test_a_record_that_is_not_the_relays_does_not_keep_the_relay_from_starting(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    pipeline.set_up()
    offset = _garbage(pipeline)
    with pipeline.running("relay"):
        _orders(pipeline, 5)
        worker = pipeline.start("projector", log="first")
        assert worker.wait(30) == 1
        pipeline.run("projector", "skip", "--offset", str(offset))
        with pipeline.running("projector"):
            _settled(pipeline, cassandra_session)


class Disk:
    """A small place for a replica: a tmpfs where we may mount one, else a limit on the size of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.size = 2 << 20
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "lockstep-test", str(folder)]
        self.mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    @property
    def limit(self) -> int:
        return 0 if self.mounted else self.size

    def grow(self) -> None:
        self.size = 0 if not self.mounted else 64 << 20
        if self.mounted:
            subprocess.run(["mount", "-o", f"remount,size={self.size}", str(self.folder)], check=True)

    def free(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with contextlib.closing(_Closing(Disk(tmp_path / "disk"))) as made:
        yield made.disk


class _Closing:
    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def close(self) -> None:
        self.disk.free()


@pytest.mark.timeout(150)
def test_a_full_disk_stops_the_worker_and_it_goes_on_when_there_is_space(
    pipeline: Pipeline, cassandra_session: Session, disk: Disk
) -> None:
    pipeline.settings = pipeline.with_settings(projector={"replica": disk.folder / "replica.sqlite"})
    pipeline.set_up()
    _orders(pipeline, 20)
    with pipeline.running("relay"):
        worker = pipeline.start("projector", limit=disk.limit)
        _settled(pipeline, cassandra_session)
        _orders(pipeline, 12_000, width=200)
        assert worker.wait(60) == 1
        said = worker.said()
        assert "Traceback" not in said, said[-3000:]
        assert str(disk.folder) in said
        assert re.search(r"full|space|large", said), said[-3000:]
        disk.grow()
        again = pipeline.start("projector", limit=disk.limit)
        _settled(pipeline, cassandra_session, seconds=90)
        assert again.stop() == 0


@pytest.mark.timeout(120)
def test_a_lost_volume_is_rebuilt_without_writing_what_is_written(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    pipeline.set_up()
    settings = pipeline.settings
    admin, keyspace = settings.postgres.admin.get_secret_value(), settings.cassandra.keyspace
    with pipeline.running("relay"):
        with pipeline.running("projector"):
            for number in range(30):
                _orders(pipeline, 20, name=f"user {number}")
            with psycopg.connect(admin) as connection:
                connection.execute("delete from orders where created_at < '2024-03-01 00:05+00'")
                connection.execute("update users set name = 'renamed' where name = 'user 3'")
            _settled(pipeline, cassandra_session)
        written = _write_times(cassandra_session, keyspace)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{settings.projector.replica}{suffix}").unlink(missing_ok=True)
        again = pipeline.start("projector", log="rebuilding")
        url = _metrics_url(again)
        wait_for("the replica is rebuilt", lambda: _sum(url, "projection_source_changes_total") >= 600, 40, again.tail)
        _settled(pipeline, cassandra_session)
        assert _sum(url, "projection_rows_written_total") == 0
        assert _sum(url, "projection_rows_deleted_total") == 0
        assert _write_times(cassandra_session, keyspace) == written
        with psycopg.connect(admin) as connection:
            connection.execute("update users set name = 'again' where name = 'user 5'")
        _settled(pipeline, cassandra_session)
        after = _write_times(cassandra_session, keyspace)
        changed = {place for place in written if after[place] != written[place]}
        assert after.keys() == written.keys()
        assert len(changed) == 16 * 3, "one user's 16 orders in three read models"
        assert _sum(url, "projection_rows_written_total") == len(changed) + 1, "and the user's profile"
        assert again.stop() == 0


def _metrics_url(process: Process) -> str:
    """Where a worker serves its metrics."""
    pattern = re.compile(r'"port": (\d+), "event": "metrics are served"')
    found = wait_for("metrics are served", lambda: pattern.search(process.said()), 30, process.tail)
    return f"http://127.0.0.1:{found[1]}/metrics"


def _sum(url: str, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = HTTP.get(url, timeout=10).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[{{ ]", line))


def _write_times(session: Session, keyspace: str) -> dict[Any, int]:
    """Read model and key of every row to the write time of its region."""
    found = {}
    shown = (m for m in models.ORDERS if "region" in m.columns and "region" not in m.key)
    for model in shown:
        table = cassandra_table(model, keyspace)
        keys = ", ".join(f'"{name}"' for name in table.key)
        for row in session.execute(f"SELECT {keys}, writetime(region) FROM {table.qualified}"):
            found[(model.name, *map(str, row[:-1]))] = row[-1]
    return found
