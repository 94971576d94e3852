"""The projector on a log filled beforehand, beside the plain driver writing the same number of rows in the same run.

Rounds alternate (driver, concurrent, projector) and the ratios are medians of each round's own, because the machine's
speed changes from minute to minute. The projector runs in a process of its own, which lives for all rounds (`tests.bench.worker`).
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.cassandra_table import cassandra_table, create_positions
from projections.read_model import ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.cassandra.session import close, connect
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.bench import server_cpu
from tests.bench.filled_log import OrderLog, drop_topic, fill, make_topic
from tests.bench.orders import ORDERS_WITH_NAME
from tests.bench.writer import PlainDriver

READ_MODELS: tuple[ReadModel, ...] = (ORDERS_WITH_NAME,)
_LIMIT_S = 600.0  # for a round
_ROUNDS = 5
_ROUND_ORDERS = 120_000
_MAINTAIN_ORDERS = 200_000
_SMALL, _LARGE = 10_000, 1_000_000
_GROWTH_ROUNDS = 5
# A round's: the small replica stays small, the large one moves its pages in each.
_GROWTH_ORDERS = {_SMALL: 40_000, _LARGE: 120_000}


def measure(settings: Settings) -> dict[str, float]:
    """The projector's figures of `make bench`; makes and drops its own keyspace, topics and files."""
    return maintain() | _against_driver(settings) | _growth(settings)


def maintain(rounds: int = 3) -> dict[str, float]:
    """maintain_changes_per_s: records to rows, no Kafka and no Cassandra; one round is 200,000 orders."""
    rates = [_maintain_once() for _ in range(rounds)]
    return {"maintain_changes_per_s": statistics.median(rates)}


def _maintain_once() -> float:
    program = compile_models(READ_MODELS)
    log = OrderLog()
    with tempfile.TemporaryDirectory() as folder:
        connection = open_replica(Path(folder) / "replica.sqlite", program, "bench")
        step, assembler = Step(connection, program), Assembler(0)
        snapshot = list(enumerate(log.snapshot()))
        values = list(enumerate(log.take(_MAINTAIN_ORDERS), len(snapshot)))

        def batch(records: list[tuple[int, bytes]]) -> int:
            connection.execute("BEGIN")
            step.take([item for item in assembler.feed(records) if isinstance(item, Transaction)])
            rows = sum(len(chunk) for model in program.models for chunk in step.present(model))
            connection.execute("COMMIT")
            return rows

        batch(snapshot)
        began = time.perf_counter()
        rows = sum(batch(values[first : first + 6_000]) for first in range(0, len(values), 6_000))
        seconds = time.perf_counter() - began
        connection.close()
    assert rows == _MAINTAIN_ORDERS
    return rows / seconds


def _against_driver(settings: Settings) -> dict[str, float]:
    with _bench(settings) as (own, session, run):
        log = OrderLog()
        fill(own.kafka, log.snapshot())
        run()
        plain = PlainDriver(own, session, cassandra_table(ORDERS_WITH_NAME, own.cassandra.keyspace))
        rounds: list[dict[str, float]] = []
        server = server_cpu.of(own.cassandra)
        for _ in range(_ROUNDS):
            fill(own.kafka, log.take(_ROUND_ORDERS))
            rows = log.last_rows()
            at = _seconds(server)
            driver = plain.batches_per_s(rows)
            driver_server = _seconds(server) - at
            concurrent = plain.concurrent_per_s(rows)
            at = _seconds(server)
            worker = run()
            worker_server = _seconds(server) - at
            assert worker["rows"] == _ROUND_ORDERS
            rate = worker["rows"] / worker["seconds"]
            rounds.append(
                {
                    "driver_rows_per_s": driver,
                    "driver_concurrent_rows_per_s": concurrent,
                    "projector_rows_per_s": rate,
                    "projector_vs_driver": rate / driver,
                    "projector_vs_concurrent": rate / concurrent,
                    "projector_cpu_s_per_100k": worker["cpu_s"] / worker["rows"] * 100_000,
                    "driver_cpu_s_per_100k": plain.cpu_s / len(rows) * 100_000,
                    **(_both("", worker["cpu_s"], worker_server, int(worker["rows"])) if server else {}),
                    **(_both("driver_", plain.cpu_s, driver_server, len(rows)) if server else {}),
                    **{
                        f"projector_{phase}_share": worker[phase] / worker["seconds"]
                        for phase in ("read", "maintain", "write", "commit")
                    },
                }
            )
        return {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}


def _seconds(server: server_cpu.ServerCpu | None) -> float:
    return server.seconds() if server is not None else 0.0


def _both(prefix: str, client_s: float, server_s: float, rows: int) -> dict[str, float]:
    """What Cassandra spent on the rows, and the rate at which client and server together would fill every core."""
    per = 100_000 / rows
    return {
        f"{prefix}cassandra_cpu_s_per_100k": server_s * per,
        f"{prefix or 'projector_'}ceiling_rows_per_s": server_cpu.ceiling(client_s * per, server_s * per),
    }


def _growth(settings: Settings) -> dict[str, float]:
    """The same rounds behind a large replica and a small one, in turn: both meet the same machine and the same Cassandra."""
    with _bench(settings) as (large, _, run_large), _bench(settings) as (small, _, run_small):
        sides = [(large, run_large, OrderLog(), _LARGE), (small, run_small, OrderLog(), _SMALL)]
        filled = []
        for own, run, log, orders in sides:
            fill(own.kafka, log.snapshot())
            fill(own.kafka, log.take(orders))
            filled.append(run())
        ratios = []
        for _ in range(_GROWTH_ROUNDS):
            rates = []
            for own, run, log, orders in sides:
                fill(own.kafka, log.take(_GROWTH_ORDERS[orders]))
                rates.append(_rate(run()))
            ratios.append(rates[0] / rates[1])
    return {"growth_ratio": statistics.median(ratios), "projector_rss_mb": filled[0]["rss_mb"]}


def _rate(result: dict[str, float]) -> float:
    return result["rows"] / result["seconds"]


@contextmanager
def _bench(settings: Settings) -> Iterator[tuple[Settings, Session, Callable[[], dict[str, float]]]]:
    """Settings with a topic and a keyspace of their own, a session, and a function that drains the log in a process."""
    name = f"bench_projector_{secrets.token_hex(4)}"
    own = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"topic": name, "group_id": name}),
            "cassandra": settings.cassandra.model_copy(update={"keyspace": name}),
        }
    )
    session = connect(own.cassandra)
    replication = json.dumps(own.cassandra.replication).replace('"', "'")
    session.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
    session.execute(create_positions(name))
    for model in READ_MODELS:
        for statement in cassandra_table(model, name).creation():
            session.execute(statement)
    make_topic(own.kafka)
    with tempfile.TemporaryDirectory() as folder:
        worker = _Worker(_environment(own, Path(folder) / "replica.sqlite"))
        try:
            yield own, session, worker.drain
        finally:
            worker.end()
            drop_topic(own.kafka)
            session.execute(f"DROP KEYSPACE {name}", timeout=60)
            close(session)


def _environment(own: Settings, replica: Path) -> dict[str, str]:
    passed = {
        "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS": own.kafka.bootstrap_servers,
        "LOCKSTEP_KAFKA__TOPIC": own.kafka.topic,
        "LOCKSTEP_KAFKA__GROUP_ID": own.kafka.group_id,
        "LOCKSTEP_CASSANDRA__CONTACT_POINTS": json.dumps(own.cassandra.contact_points),
        "LOCKSTEP_CASSANDRA__PORT": str(own.cassandra.port),
        "LOCKSTEP_CASSANDRA__KEYSPACE": own.cassandra.keyspace,
        "LOCKSTEP_PROJECTOR__REPLICA": str(replica),
        "LOCKSTEP_PROJECTOR__READ_MODELS": "tests.bench.projector:READ_MODELS",
    }
    return os.environ | passed


class _Worker:
    """`tests.bench.worker`, from the first round on."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def drain(self) -> dict[str, float]:
        """What one round took; raises RuntimeError when the process ended in it."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.worker"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        else:
            assert self._process.stdin is not None
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        assert self._process.stdout is not None
        late = threading.Timer(_LIMIT_S, self._process.kill)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()  # an interrupt is not to wait for it
        if not line:
            raise RuntimeError(f"the worker ended with {self._process.wait(30)}")
        result: dict[str, float] = json.loads(line)
        return result

    def end(self) -> None:
        """End the process, if it was begun."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
