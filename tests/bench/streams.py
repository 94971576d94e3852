"""A change's way to whoever watches: commit → event received, beside commit → row readable, of the same kind of change.

The path runs as shipped: relay, projector, read API. Changes alternate: one is waited for on the stream, the next one by
asking Cassandra again and again, so that both meet the same machine and neither disturbs the other. Meanwhile IDLE streams
of other partitions are open at the same process; what they cost it is said too.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg

from command_api.process.settings import Settings
from projector.cassandra.session import close, connect
from tests.bench.path import prepared
from tests.e2e.events import Listener
from tests.e2e.pipeline import Process, listening, wait_for

IDLE = 2_000
_CHANGES = 150  # of each kind
_WARM_UP = 20
_PAUSE_S = 0.02
_DEADLINE_S = 20.0
_USER = UUID(int=1)
_CHANGE = "update users set name = %s where user_id = %s"


def measure(settings: Settings) -> dict[str, float]:
    """sse_delay_p50_ms, the lag of the same run, and an idle stream's memory and share of a core."""
    with (
        prepared(settings, "streams", "projections:READ_MODELS") as pipeline,
        pipeline.running("relay", "projector", "read-api") as processes,
        psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as postgres,
    ):
        url = listening(processes[2])
        postgres.execute("insert into users (user_id, name) values (%s, 'Ada')", (_USER,))
        session = connect(pipeline.settings.cassandra)
        try:
            statement = session.prepare(
                f'select name from "{pipeline.settings.cassandra.keyspace}".user_profile where user_id = ?'
            )
            path = f"/read/user_profile/{_USER}"
            wait_for("it reads", lambda: httpx.get(f"{url}{path}", trust_env=False).is_success, _DEADLINE_S)
            listener = Listener(url, path, lambda row: row["user_id"])
            assert listener.opened.wait(_DEADLINE_S), listener.error

            def streamed() -> str:
                return str(next(iter(listener.rows.values()), {}).get("name"))

            def stored() -> str:
                row = session.execute(statement, (_USER,)).one()
                return str(row[0]) if row else ""

            before = _memory(processes[2])
            with _idle(url):
                grown = _memory(processes[2]) - before
                spent = _cpu(processes[2])
                time.sleep(5)  # nothing happens: what the idle streams cost
                share = (_cpu(processes[2]) - spent) / 5
                found: dict[str, list[float]] = {"streamed": [], "stored": []}
                for number in range(2 * (_CHANGES + _WARM_UP)):
                    kind, look = (("streamed", streamed), ("stored", stored))[number % 2]
                    name = f"name {number}"
                    postgres.execute(_CHANGE, (name, _USER))
                    began = time.perf_counter()
                    while look() != name:
                        time.sleep(0.0002)  # the listener's thread needs the interpreter too; the deadline is below
                        if time.perf_counter() - began > _DEADLINE_S:
                            raise RuntimeError(f"change {number} is not {kind}")
                    found[kind].append(time.perf_counter() - began)
                    time.sleep(_PAUSE_S)  # one change at a time
            listener.stop()
        finally:
            close(session)
    delay, lag = (statistics.median(found[kind][_WARM_UP:]) * 1_000 for kind in ("streamed", "stored"))
    return {
        "sse_delay_p50_ms": delay,
        "sse_delay_over_lag_p50_ms": delay - lag,
        "sse_idle_stream_kb": grown / IDLE / 1_024,
        "sse_idle_cpu_percent": share * 100,
    }


@contextmanager
def _idle(url: str) -> Iterator[None]:
    """Streams of IDLE partitions, each opened before the block begins."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, IDLE + 1_000)), hard))
    opened, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_hold(url, opened, ended)), name="idle-streams")
    thread.start()
    try:
        if not opened.wait(120):
            raise RuntimeError(f"{IDLE} streams are not open after 120 s")
        yield
    finally:
        ended.set()
        thread.join()


async def _hold(url: str, opened: threading.Event, ended: threading.Event) -> None:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    at_once = asyncio.Semaphore(50)

    async def one(number: int) -> asyncio.StreamWriter:
        async with at_once:
            reader, writer = await asyncio.open_connection(host, port)
            path = f"/read/user_profile/{UUID(int=1_000 + number)}/changes"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = await reader.readuntil(b"event: snapshot")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            return writer

    writers = await asyncio.gather(*map(one, range(IDLE)))
    opened.set()
    await asyncio.to_thread(ended.wait)
    for writer in writers:
        writer.close()


def _memory(process: Process) -> int:
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu(process: Process) -> float:
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
