"""GROUP BY in the core: records as the log carries them to rows, no Kafka and no Cassandra, the replica on disk.

The job is that of `tests.bench.review_log`: count, sum, average and the distribution 1 to 5 of reviews by product, half
a million of which are there before (for the ratios a million). What is compared stands side by side in two replicas
whose rounds alternate, because the machine's speed changes from minute to minute. A figure is the median of its rounds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import func, select

from command_api.process.settings import Settings
from command_api.tables import reviews
from projections.products import PRODUCT_PAGE
from projections.read_model import ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.compile.names import replica_name
from projector.compile.program import compile_models
from projector.compile.relation import ROWS
from projector.replica.schema import open_replica
from tests.bench.review_log import ReviewLog

GROUPS = 5_000
_ROWS = 1_000_000
_WARM_ROWS = 500_000  # there before, for the figures that are not compared
_ROUND = 60_000
_ROUNDS = 5
_RECORDS = 6_000  # a batch: 5,000 changes with their transactions' boundaries
_COMMITTED_EVERY = 12  # batches: a round
_SMALL_GROUPS, _SMALL_ROWS = 1_000, 10
_SINGLES = 500

_by_product = reviews.c.product_id
OPINIONS = ReadModel(
    name="opinions",
    select=select(
        _by_product,
        func.count().label("review_count"),
        func.sum(reviews.c.rating).label("rating_sum"),
        func.avg(reviews.c.rating).label("rating_average"),
        *(func.count().filter(reviews.c.rating == rating).label(f"rating_{rating}") for rating in range(1, 6)),
    ).group_by(_by_product),
    partition_key=("product_id",),
)
# Both as hard as they get: nearly every review has a time and a writer of its own.
EXTREMES = ReadModel(
    name="extremes",
    select=select(
        _by_product,
        func.min(reviews.c.created_at).label("first_at"),
        func.max(reviews.c.created_at).label("last_at"),
    ).group_by(_by_product),
    partition_key=("product_id",),
)
DISTINCT = ReadModel(
    name="reviewers",
    select=select(_by_product, func.count(reviews.c.user_id.distinct()).label("reviewers")).group_by(_by_product),
    partition_key=("product_id",),
)


def measure(_: Settings) -> dict[str, float]:
    """The figures of `make bench`; every file of theirs is temporary."""
    rate, cpu = rate_of(OPINIONS)
    return {
        "aggregate_changes_per_s": rate,
        "aggregate_cpu_s_per_100k": cpu,
        **by_group_size(),
        "product_page_changes_per_s": rate_of(PRODUCT_PAGE)[0],
        "extreme_changes_per_s": rate_of(EXTREMES, rounds=3)[0],
        "distinct_changes_per_s": rate_of(DISTINCT, rounds=3)[0],
    }


def by_group_size(rows: int = _ROWS, changes: int = _ROUND, rounds: int = _ROUNDS) -> dict[str, float]:
    """aggregate_hot_over_cold: the rate with one group of `rows` rows over that with 5,000 groups; and aggregate_group_cost_ratio.

    The latter is the cost of a transaction of ten edits in a group of ten rows over that of one in a group of `rows`:
    both in one replica, where the rows of either are scattered alike, so that nothing but the group's size differs; each
    transaction is a batch and a commit of its own.
    """
    ratios, costs = [], []
    with ExitStack() as open_files:
        cold = open_files.enter_context(core(OPINIONS, ReviewLog(GROUPS)))
        hot = open_files.enter_context(core(OPINIONS, ReviewLog(1)))
        cold.run(cold.log.fill(rows))
        hot.run(hot.log.fill(rows, _SMALL_GROUPS, _SMALL_ROWS))
        for _ in range(rounds):
            rate, _ = cold.rate(changes)
            ratios.append(hot.rate(changes)[0] / rate)
            costs.append(hot.small_over_large())
        cold.check()
        hot.check()
    return {
        "aggregate_hot_over_cold": statistics.median(ratios),
        "aggregate_group_cost_ratio": statistics.median(costs),
    }


def rate_of(
    model: ReadModel, rows: int = _WARM_ROWS, changes: int = _ROUND, rounds: int = _ROUNDS
) -> tuple[float, float]:
    """Changes per second of a read model over 5,000 products with `rows` reviews there before; CPU seconds per 100,000."""
    with core(model, ReviewLog(GROUPS)) as running:
        running.run(running.log.catalogue())
        running.run(running.log.fill(rows))
        rates, cpu = zip(*(running.rate(changes) for _ in range(rounds)), strict=True)
        running.check()
    return statistics.median(rates), statistics.median(cpu)


class Core:
    """A step over a replica on disk, and the log that it follows."""

    def __init__(self, path: Path, model: ReadModel, log: ReviewLog) -> None:
        self.log = log
        self.program = compile_models([model])
        self.connection = open_replica(path, self.program, "bench")
        self._step, self._assembler = Step(self.connection, self.program), Assembler(0)
        self._offset = 0

    def run(self, records: Iterable[bytes]) -> int:
        """Whatever there is, batch by batch; the number of rows that came out."""
        rows = 0
        for number, batch in enumerate(self._batches(records), 1):
            rows += self._batch(batch)
            if number % _COMMITTED_EVERY == 0:
                self._commit()
        self._commit()
        return rows

    def rate(self, changes: int) -> tuple[float, float]:
        """Changes per second of the next ones, and CPU seconds per 100,000 of them; the records are ready-made, and a round is one commit.

        So does a worker that is behind: it commits every two seconds.
        """
        batches = list(self._batches(self.log.changes(changes)))
        cpu, began = time.process_time(), time.perf_counter()
        rows = sum(map(self._batch, batches))
        self._commit()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert rows > 0
        return changes / seconds, cpu / changes * 100_000

    def small_over_large(self) -> float:
        """Seconds of ten edits in a small group over those of ten in the large one, medians; a batch is one transaction."""
        log = self.log
        spent: tuple[list[float], list[float]] = [], []
        for number, rows in enumerate(log.small[:_SINGLES]):
            for which in (0, 1) if number % 2 else (1, 0):
                batches = list(self._batches(log.edits(log.sample(len(rows)) if which else rows)))
                began = time.perf_counter()
                assert sum(map(self._batch, batches)) == 1
                self._commit()
                spent[which].append(time.perf_counter() - began)
        return statistics.median(spent[0]) / statistics.median(spent[1])

    def check(self) -> None:
        """The groups count every row of the log; raises AssertionError."""
        group = self.program.groups[-1].name
        ((counted,),) = self.connection.execute(f"SELECT SUM({ROWS}) FROM {replica_name(group)}").fetchall()
        assert counted == len(self.log.live) + sum(map(len, self.log.small))

    def _batches(self, records: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
        batch: list[tuple[int, bytes]] = []
        for value in records:
            self._offset += 1
            batch.append((self._offset, value))
            if len(batch) == _RECORDS:
                yield batch
                batch = []
        if batch:
            yield batch

    def _batch(self, records: list[tuple[int, bytes]]) -> int:
        step = self._step
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN")
        step.take([item for item in self._assembler.feed(records) if isinstance(item, Transaction)])
        rows = 0
        for model in self.program.models:
            for chunks in (step.present(model), step.absent(model)):
                rows += sum(map(len, chunks))
        return rows

    def _commit(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")


@contextmanager
def core(model: ReadModel, log: ReviewLog) -> Iterator[Core]:
    """A core with a file of its own, closed and removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        running = Core(Path(folder) / "replica.sqlite", model, log)
        try:
            yield running
        finally:
            running.connection.close()
