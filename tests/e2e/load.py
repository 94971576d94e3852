"""A load on the whole path: random transactions, writers that read with tokens, commands over HTTP; all in threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from random import Random

import httpx
import psycopg

from command_api import months
from command_api.tables import likes, posts
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.e2e.tokens import Commander, Tally, Writer, over_http
from tests.e2e.transactions import Source
from tests.oracle import schema

# A user of their own, whom nobody renames: thousands of copies rewritten all the time would only measure that.
MANY_ORDERS = """
    with u as (insert into users (user_id, name) values (md5('{salt}')::uuid, 'Many') returning user_id)
    insert into orders (order_id, user_id, status, region, created_at)
    select md5('{salt}' || i)::uuid, user_id, 'placed', 'eu', timestamptz '2024-03-01 12:00+00' + i * interval '1 s'
    from generate_series(1, 2000) i, u
"""

PAUSE_S = 0.25
"""At most, between two changes of one thread: servers that have no CPU left come back late, and show no more than busy ones."""
MONTHS = (date(2024, 2, 1), date(2024, 3, 1))
"""Of the oracle's messages."""


class RandomChanges(threading.Thread):
    """Random transactions without an end; after a lost connection it goes on with another."""

    def __init__(self, conninfo: str, rng: Random, stop: threading.Event) -> None:
        super().__init__(name="random-changes", daemon=True)
        self.made: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._conninfo = conninfo
        self._rng = rng
        self._stopping = stop

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5) as connection:
                        connection.execute("set timezone = 'UTC'")
                        self._work(connection)
                except psycopg.OperationalError:
                    self._stopping.wait(0.05)
        except BaseException as error:
            self.error = error

    def _work(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        source = Source(
            connection,
            (*schema.APPLICATION, posts, likes),
            schema.DOMAINS,
            self._rng,
            {"orders": MANY_ORDERS},
            alone=False,  # the token writers' orders are in the same table
        )
        source.made = self.made
        while not self._stopping.wait(self._rng.random() * PAUSE_S):
            if self._rng.random() < 0.01:
                source.big()
            else:
                source.transaction()


@dataclass
class Load:
    """What a load did; complete when its block has ended."""

    pipeline: Pipeline
    tallies: dict[str, Tally]
    made: Counter[str]

    @property
    def verified(self) -> int:
        """How many replies with a token were right."""
        return sum(tally.verified.total() for tally in self.tallies.values())

    def has_judged(self, verified: int) -> bool:
        """So many replies with a token were right, and one of them was of sales."""
        return self.verified >= verified and self.tallies["commands"].verified["sales"] > 0

    def wait_for_reads(self, more: int, *, seconds: float) -> None:
        """Wait until so many more replies with a token were right, and one of them was of sales."""
        wanted = self.verified + more
        wait_for(
            f"{more} more reads",
            lambda: self.has_judged(wanted),
            seconds,
            lambda: str(self) + self.pipeline.logs(),
        )

    def assert_honest(self, context: str, *, verified: int) -> None:
        """Fail when a read with a token was older than it, or too few could be judged."""
        stale = [line for tally in self.tallies.values() for line in tally.stale]
        assert not stale, f"{context}: {len(stale)} replies were older than their token:\n" + "\n".join(stale[:5])
        assert self.verified >= verified, (
            f"{context}: only {self.verified} replies with a token could be judged: {self}"
        )
        assert self.tallies["commands"].verified["sales"], f"{context}: no sales could be judged: {self}"


@contextmanager
def running(pipeline: Pipeline, rng: Random) -> Iterator[Load]:
    """Load the path as long as the block runs; starts a command API and a read API of its own."""
    admin = pipeline.settings.postgres.admin.get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        for month in set(MONTHS) - set(months.existing(connection)):
            months.create(connection, month)
    commands, reads = pipeline.start("command-api"), pipeline.start("read-api")
    read_client = httpx.Client(base_url=listening(reads), timeout=30)
    command_client = httpx.Client(base_url=listening(commands), timeout=30)
    read = over_http(read_client)
    stop = threading.Event()
    writers = [Writer(admin, read, Random(rng.random()), stop, pause_s=PAUSE_S) for _ in range(8)]
    commander = Commander(command_client, read, Random(rng.random()), stop)
    changes = RandomChanges(admin, Random(rng.random()), stop)
    threads: list[Writer | Commander | RandomChanges] = [*writers, commander, changes]
    load = Load(pipeline=pipeline, tallies={"commands": commander.tally}, made=changes.made)
    load.tallies |= {f"writer {number}": writer.tally for number, writer in enumerate(writers)}
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(40)
        read_client.close()
        command_client.close()
    for thread in threads:
        assert not thread.is_alive(), f"{thread.name} hangs"
        if thread.error is not None:
            raise AssertionError(f"{thread.name} failed: {thread.error!r}. {pipeline.logs()}") from thread.error
    for process in (commands, reads):
        assert process.status is None, process.tail()
        assert process.stop() == 0, process.tail()
