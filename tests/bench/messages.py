"""A message's way: the command's whole request, and a channel's newest page across its time buckets.

The path behind runs meanwhile: relay, projector, command API and read API as shipped. Requests are sent one after the
other by one client at a fixed rate, so that their time is their own and not a queue's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import httpx
import psycopg

from command_api.process.settings import Settings
from tests.bench.lag import p99
from tests.bench.path import prepared
from tests.e2e.pipeline import listening

_RATE = 100
_MESSAGES = 3_000
_READS = 500
_WARM_UP = 200
# Of the last whole month, whose partition is there: a message an hour, so that a page of 500 rows is of three buckets.
_FILL = """
    insert into messages (message_id, sent_at, channel_id, author_id, body)
    select id, uuid_extract_timestamp(id), %(channel)s, %(author)s, 'Message ' || n
    from generate_series(0, 671) n,
         lateral (select date_trunc('month', now() at time zone 'UTC') - interval '1 month' + n * interval '1 hour' as at) as a,
         lateral (select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || left(md5('a' || n), 3)
                          || '8' || left(md5('b' || n), 15))::uuid as id) as i
"""


def measure(settings: Settings) -> dict[str, float]:
    """message_insert_p50_ms and _p99_ms of POST /messages; message_page_p50_ms of 500 rows in three time buckets."""
    with (
        prepared(settings, "messages", "projections:READ_MODELS") as pipeline,
        pipeline.running("relay", "projector", "command-api", "read-api") as processes,
        httpx.Client(base_url=listening(processes[2]), trust_env=False, timeout=30) as commands,
        httpx.Client(base_url=listening(processes[3]), trust_env=False, timeout=30) as reads,
    ):
        author = _made(commands, "user", "/users", name="Ada")
        busy, sparse = (_made(commands, "channel", "/channels", name=name) for name in ("busy", "sparse"))
        with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as admin:
            admin.execute(_FILL, {"channel": sparse, "author": author})
        message = {"channel_id": busy, "author_id": author, "body": "hello"}
        token = ""

        def send() -> None:
            nonlocal token
            token = commands.post("/messages", json=message).raise_for_status().headers["Consistency-Token"]

        inserts = list(_timed(send, _MESSAGES + _WARM_UP, _RATE))[_WARM_UP:]
        path, page = f"/read/messages_by_channel/{sparse}", {"limit": "500"}
        shown = reads.get(path, params=page, headers={"Consistency-Token": token}).raise_for_status().json()["rows"]
        if len(shown) != 500 or len({row["bucket"] for row in shown}) < 3:
            raise RuntimeError(f"the page has {len(shown)} rows")
        pages = list(_timed(lambda: reads.get(path, params=page).raise_for_status(), _READS + _WARM_UP, 1e9))[_WARM_UP:]
    return {
        "message_insert_p50_ms": statistics.median(inserts) * 1_000,
        "message_insert_p99_ms": p99(inserts) * 1_000,
        "message_page_p50_ms": statistics.median(pages) * 1_000,
    }


def _made(client: httpx.Client, kind: str, path: str, **body: str) -> str:
    return str(client.post(path, json=body).raise_for_status().json()[f"{kind}_id"])


def _timed(work: Callable[[], object], count: int, rate: float) -> Iterator[float]:
    began = time.perf_counter()
    for number in range(count):
        wait = began + number / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)  # until the next request of the rate
        start = time.perf_counter()
        work()
        yield time.perf_counter() - start
