"""The initial snapshot's peak memory does not grow with the rows, once the producer's bounded queue is full.

Measured: 173 MB at 100,000 rows, 175 at 300,000, 175 at 1,000,000.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient

from command_api.process.settings import Settings
from tests.integration.relay.stand import environment, log_length

FEW, MANY = 100_000, 250_000  # the queue holds fewer than the first
ALLOWED_MB = 16.0


def test_a_larger_snapshot_needs_no_more_memory(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    few, many = measured(settings, admin, FEW, "few"), measured(settings, admin, MANY, "many")
    assert many - few < ALLOWED_MB, (few, many)


def measured(settings: Settings, admin: psycopg.Connection[Any], rows: int, name: str) -> float:
    """Fill the table up to `rows`, set a relay up on a topic and a slot of its own; its peak resident memory in MB."""
    admin.execute(
        "insert into users (user_id, name) select gen_random_uuid(), repeat('x', 200)"
        " from generate_series((select count(*) from users) + 1, %s)",
        (rows,),
    )
    kafka = settings.kafka.model_copy(update={"topic": f"{settings.kafka.topic}-{name}"})
    relay = settings.relay.model_copy(update={"slot": f"{settings.relay.slot}_{name}"})
    own = settings.model_copy(update={"kafka": kafka, "relay": relay})
    with topic_removed(own):
        peak = peak_mb([sys.executable, "-m", "command_api.relay", "setup"], environment(own))
        assert log_length(own) == rows + 2, "BEGIN, the rows, END"
    admin.execute("select pg_drop_replication_slot(%s)", (relay.slot,))  # it would keep the next rows' WAL
    return peak


@contextlib.contextmanager
def topic_removed(settings: Settings) -> Iterator[None]:
    try:
        yield
    finally:
        client = AdminClient(settings.kafka.client_properties())
        client.delete_topics([settings.kafka.topic])[settings.kafka.topic].result(20)


def peak_mb(command: list[str], environment: dict[str, str]) -> float:
    """Run a command to its end; the kernel's high-water mark of its resident memory, as last seen."""
    peak = 0.0
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + 120
            while process.poll() is None:
                # Not wait4's figure: that one begins with the memory of the process that forked.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    peak = max(peak, high_water_mb(process.pid))
                assert time.monotonic() < deadline
                time.sleep(0.01)  # the deadline is above; the mark goes away with the process
        finally:
            process.kill()
        assert process.stdout is not None
        assert process.returncode == 0, process.stdout.read()
    return peak


def high_water_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
