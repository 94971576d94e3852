"""A worker: it reads the log, steps the replica, writes Cassandra, and publishes what is covered. Its crash order:

1. BEGIN in the replica; images, touch, recompute.
2. What readers of a feed must know before its copies go; acknowledged. Upserts to Cassandra; all acknowledged. Then
   deletes; all acknowledged.
3. Marks of rows that Cassandra refused (`projector.dead_letters`); acknowledged. What readers of a feed may forget once its
   copies are there, or marked; acknowledged. The position, and COMMIT in the replica.
4. The covered positions to Cassandra; then a word to readers that watch (`projector.announce`), and the group's offset.

When the worker is behind, several batches go through 1 and 2 before one 3 and 4, and Cassandra acknowledges the rows
of one while the next is maintained; each batch keeps its own timestamp, so this is as if it crashed before each COMMIT.

A crash anywhere repeats from the last COMMIT with whatever boundaries; every write carries its batch's last commit LSN,
so repetitions converge. A published position is true when it appears: it follows the acknowledgement of its rows.

A read model whose published position is ahead of the replica (a lost volume, a second worker) is caught up *silently*:
batches end at that position and write nothing for it, since those rows are written already.

Keys whose repair the log asks for (`projector.apply.requests`) count as touched in the batch that holds the request.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client import Counter

from command_api.process.logging import get_logger
from projections.cassandra_table import GC_GRACE_SECONDS, write_timestamp
from projector.added import AddedColumns
from projector.apply.anew import Anew, where_to_begin
from projector.apply.consume import Assembler
from projector.apply.log import LogReader
from projector.apply.requests import RequestError, asked, woken
from projector.apply.step import Step
from projector.apply.transaction import Heartbeat, Transaction
from projector.cassandra.write import Writer
from projector.compile.program import ModelProgram, Program
from projector.coverage import Coverage, Target
from projector.dead_letters.parking import NoParking
from projector.feed_upkeep import FeedUpkeep
from projector.feeds.policy import SideWrite
from projector.log_bounds import check_bounds, no_snapshot
from projector.metrics import WorkerMetrics
from projector.published import Item, Published
from projector.replica.deferred import Since
from projector.replica.schema import Position, read_position, write_birth, write_position
from projector.slices import AS_USUAL, Slices, Turn
from projector.traces import trace_writes
from projector.truncations import Truncations

_log = get_logger(__name__)
_POLL_SECONDS = 0.2
_STALE_MICROSECONDS = GC_GRACE_SECONDS * 1_000_000 // 2
_FEW_RECORDS = 1_000  # so many after the batch in hand, and the worker counts as behind
_COMMIT_SLICES_EVERY_S = 0.1
_LOOK_SECONDS = 2.0  # longer than a feed is read between its look for marks and its first look at the flags
_COMMIT_EVERY_S = 2.0  # when behind: a page of the replica that several batches change is written once


class Worker:
    """One worker over an open replica, log and writer. `run` returns when `stop` is set, between two batches.

    until: an offset of the log at which `run` ends, with everything before it committed.
    """

    def __init__(
        self,
        *,
        connection: sqlite3.Connection,
        program: Program,
        log: LogReader,
        writer: Writer,
        target: Target,
        metrics: WorkerMetrics,
        stop: threading.Event,
        max_batch_changes: int,
        slices: Slices = AS_USUAL,
        announce: Callable[[int], None] = lambda _lsn: None,
        clock: Callable[[], float] = time.time,
        turned: Callable[[], None] = lambda: None,
        parking: NoParking | None = None,
        anew: Anew | None = None,
        until: int | None = None,
    ) -> None:
        self._connection = connection
        self._program = program
        self._log = log
        self._anew = anew
        self._until = until
        self._writer = writer
        self._target = target
        self._metrics = metrics
        self._stop = stop
        self._most = max_batch_changes
        self._announce = announce
        self._clock = clock
        self._turned = turned
        self._step = Step(connection, program, slices.above)
        self._slices = slices
        self._sliced = False
        names = tuple(m.model.name for m in program.models)
        tables = {name: target.table(name) for name in names}
        self._added = AddedColumns((m.model for m in program.models), tables, self._step.backfills)
        self._coverage = Coverage(writer, target, metrics, names, self._added)
        self._coverage.put_aside = self._step.deferred.progress()
        self._turn = Turn(slices.share)
        self._truncations = Truncations((m.model for m in program.models), metrics.truncated)
        self._upkeep = FeedUpkeep(
            connection, self._step, writer, target, metrics, tuple(m.model for m in program.models)
        )
        self._position = read_position(connection)
        self._published = Published(writer, target, names, self._added)
        self._uncommitted: list[list[Item]] = []
        self._committed_at = time.perf_counter()
        self._read_to = self._position.offset
        self._writes_of = dict.fromkeys(names, 0)
        self._changes = 0
        self._seen_lsn = self._position.lsn
        self._models = {m.model.name: m.model for m in program.models}
        self._parking = parking or NoParking()
        self._parking.begin(connection, target)
        self._born = self._position.born

    def run(self) -> None:
        """Work until stopped; raises what can't be worked through, with the replica at its last COMMIT.

        Raises RebuildAskedError when the replica is to be set aside.
        """
        low, high = self._log.bounds()
        if self._born is None:
            write_birth(self._connection, high)
            self._born = high
        check_bounds(self._position.offset, low, high)
        skipped = {offset for (offset,) in self._connection.execute("SELECT log_offset FROM main.skipped")}
        begin, from_start = where_to_begin(self._position.offset, low, self._anew)
        assembler = Assembler(self._position.lsn, from_start=from_start, skipped=skipped)
        self._log.open_at(begin, self._until)
        self._look()
        self._bind_metrics()
        _log.info("reading the log", offset=begin, end=high, silent=self._published.ahead or None)
        try:
            while not self._stop.is_set():
                self._turned()
                started = time.perf_counter()
                put_aside = self._step.waiting
                records = self._log.read(self._most, 0.0 if self._uncommitted or put_aside else _POLL_SECONDS)
                if not records:
                    if self._log.ended:
                        break
                    self._idle()
                    continue
                found = assembler.feed(records)
                items = list(found if self._anew is None else self._anew.items(found, self._published.check_snapshot))
                self._metrics.phase_seconds.labels(phase="read").observe(time.perf_counter() - started)
                for batch in self._published.batches(items, self._reached()):
                    self._apply(batch)
                self._read_to = records[-1][0] + 1
                self._work_off(time.perf_counter() - started)
                behind = self._lag_records() > _FEW_RECORDS
                if not behind or time.perf_counter() - self._committed_at > _COMMIT_EVERY_S:
                    self._commit()
                if (
                    assembler.waiting_for_snapshot
                    and not assembler.in_snapshot
                    and self._read_to >= self._log.bounds()[1]
                ):
                    raise no_snapshot(low)
            self._commit()
        except BaseException:
            self._roll_back()
            raise

    # -- what is put aside --------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        """Nothing to read: commit, or go on with what is put aside."""
        if not self._step.waiting:
            self._commit()
            return
        self._slice()
        if not self._step.waiting or time.perf_counter() - self._committed_at > _COMMIT_SLICES_EVERY_S:
            self._commit()

    def _work_off(self, spent: float) -> None:
        """Give slices their share of the time, of which other changes took `spent` seconds."""
        self._turn.earn(spent)
        while self._step.waiting and self._turn.due:
            started = time.perf_counter()
            self._slice()
            self._turn.spend(time.perf_counter() - started)

    def _slice(self) -> None:
        """One slice, as a batch of its own at the position that the replica has reached."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        self._sliced = True
        with self._metrics.phase_seconds.labels(phase="maintain").time():
            touched = self._step.slice(self._slices.keys, self._published.silent(self._reached()))
        self._writer.drain()  # of the slice before: other changes are written behind one slice at most
        with self._metrics.phase_seconds.labels(phase="write").time():
            self._write(self._reached(), touched)
        for name, number in touched.items():
            self._metrics.sliced.labels(name).inc(number)

    def _reached(self) -> int:
        """LSN of the replica's rows as they are now."""
        return self._uncommitted[-1][-1].lsn if self._uncommitted else self._position.lsn

    def _since(self, transactions: list[Transaction]) -> Since | None:
        """Where a batch begins; None when it begins the replica: all that it holds is written anyway."""
        return (self._reached(), transactions[0].committed_at) if transactions and self._position.applied_lsn else None

    # -- batches ------------------------------------------------------------------------------------------------------

    def _apply(self, batch: list[Item]) -> None:
        """Steps 1 and 2 of one batch; what it sent last is acknowledged by `_commit`."""
        transactions = [item for item in batch if isinstance(item, Transaction)]
        if transactions and not self._position.applied_lsn and not self._uncommitted:
            self._published.check_snapshot(transactions[0].lsn)
        self._seen_lsn = max(self._seen_lsn, batch[-1].lsn)
        if transactions and self._clock() * 1e6 - transactions[-1].committed_at > _STALE_MICROSECONDS:
            self._look()
        repairs = asked(transactions, self._models, self._born or 0, self._refused_request)
        for wake in woken(transactions, self._models, self._refused_request):
            self._step.feeds.wake(*wake)
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        since = self._since(transactions)
        self._uncommitted.append(batch)
        if not transactions:
            return
        with self._metrics.phase_seconds.labels(phase="maintain").time():
            silent = self._published.silent(transactions[-1].lsn)
            wanted = self._parking.asking(transactions[-1].lsn, silent, repairs)
            touched = self._step.take(transactions, wanted, since=since, silent=silent)
        for transaction in transactions:
            transaction.changes.close()
        with self._metrics.phase_seconds.labels(phase="write").time():
            self._write(transactions[-1].lsn, touched)
        count = sum(transaction.changes.count for transaction in transactions)
        self._metrics.changes.inc(count)
        self._metrics.transactions.inc(len(transactions))
        self._metrics.batch_changes.observe(count)
        self._changes += count
        for name, keys in repairs.items():
            self._metrics.repaired.labels(name).inc(len(keys))
        for name, number in self._step.deferred.saved.items():
            self._metrics.budget_saved.labels(name).inc(number)
        self._step.deferred.saved.clear()
        for name, number in touched.items():
            self._metrics.touched.labels(name).inc(number)
            if self._changes:
                self._metrics.amplification.labels(name).set(self._writes_of[name] / self._changes)

    def _write(self, lsn: int, touched: dict[str, int]) -> None:
        """Send a batch chunk by chunk as the replica gives it, in bounded memory."""
        timestamp = write_timestamp(self._target.epoch, lsn)
        self._write_beside(self._step.feeds.first(), timestamp)
        absent = []
        for model in self._loud(lsn, touched):
            name, written = model.model.name, 0
            for rows in self._step.present(model):
                self._writer.upsert(name, rows, timestamp)
                self._parking.sent(name, rows, lsn)
                self._truncations.look(name, rows)
                written += len(rows)
            if written < touched[name]:
                absent.append(model)
            self._count(self._metrics.written, name, written)
        if absent:
            self._writer.drain()  # a row that moves may be in both places for a moment, never in none
        for model in absent:
            for keys in self._step.absent(model):
                self._writer.delete(model.model.name, keys, timestamp)
                self._parking.sent(model.model.name, keys, lsn)
                self._count(self._metrics.deleted, model.model.name, len(keys))

    def _write_beside(self, writes: Iterable[SideWrite], timestamp: int) -> None:
        """Write to the tables beside feeds, and wait until it is acknowledged."""
        for write in writes:
            send = self._writer.delete if write.delete else self._writer.upsert
            send(write.table, write.rows, timestamp)
            self._writer.drain()

    def _loud(self, lsn: int, touched: dict[str, int]) -> list[ModelProgram]:
        """The read models that this batch writes."""
        silent = self._published.silent(lsn)
        return [m for m in self._program.models if touched[m.model.name] and m.model.name not in silent]

    def _commit(self) -> None:
        """Steps 3 and 4 for all batches and slices since the last commit."""
        if not self._uncommitted and not self._sliced:
            return
        with self._metrics.phase_seconds.labels(phase="write").time():
            self._writer.drain()
        transactions = [item for batch in self._uncommitted for item in batch if isinstance(item, Transaction)]
        last = self._uncommitted[-1][-1] if self._uncommitted else None
        position = self._position
        if last is not None:
            position = Position(
                lsn=last.lsn,
                applied_lsn=transactions[-1].lsn if transactions else position.applied_lsn,
                offset=last.next_offset,
                committed_at=transactions[-1].committed_at if transactions else position.committed_at,
            )
        now = self._clock()
        for transaction in transactions:
            self._metrics.commit_to_written.observe(max(0.0, now - transaction.committed_at / 1e6))
        # What was caught up silently was written, and traced, by who published it.
        trace_writes((t for t in transactions if len(self._published.silent(t.lsn)) < len(self._models)), now)
        with self._metrics.phase_seconds.labels(phase="commit").time():
            marked = self._parking.settle(position.lsn, position.committed_at)
            forgotten = self._step.feeds.last()
            if marked and forgotten:
                time.sleep(_LOOK_SECONDS)  # whoever looked for marks before there were any has read the flags by then
            self._write_beside(forgotten, write_timestamp(self._target.epoch, self._reached()))
            write_position(self._connection, position)
            self._added.begin(self._published.silent(position.lsn))
            self._connection.execute("COMMIT")
        self._added.settle()
        self._uncommitted.clear()
        sliced, self._sliced = self._sliced, False
        self._committed_at = time.perf_counter()
        self._position = position
        self._publish(position, heartbeat_at=last.at if isinstance(last, Heartbeat) else None)
        self._announce(position.lsn)
        self._log.commit(position.offset)
        self._upkeep.committed(position, self._published.silent(position.lsn), sliced=sliced)
        self._parking.committed(self._writer)

    def _roll_back(self) -> None:
        """Back to the last COMMIT; what was written meanwhile is written again after the next start."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._uncommitted.clear()
        self._sliced = False
        self._parking.rolled_back()
        self._step.deferred.reread()

    def _refused_request(self, error: RequestError) -> None:
        _log.warning("a request in the log can't be carried out, nothing is lost by that", reason=str(error))
        self._metrics.refused_requests.inc()

    def _count(self, counter: Counter, name: str, rows: int) -> None:
        counter.labels(name).inc(rows)
        self._writes_of[name] += rows

    def _look(self) -> None:
        if self._published.look(self._position.lsn):
            self._parking.look()

    # -- positions ----------------------------------------------------------------------------------------------------

    def _publish(self, position: Position, heartbeat_at: int | None) -> None:
        deferred = self._step.deferred
        self._coverage.publish(
            position.lsn,
            heartbeat_at if heartbeat_at is not None else position.committed_at,
            {name for name, lsn in self._published.ahead.items() if position.lsn < lsn},
            deferred.progress() if deferred.any or self._coverage.put_aside else {},
        )

    # -- freshness ----------------------------------------------------------------------------------------------------

    def _bind_metrics(self) -> None:
        metrics = self._metrics
        for name in self._models:
            metrics.lag_seconds.labels(name).set_function(lambda name=name: self._lag_seconds(name))  # type: ignore[misc]
            metrics.lag_bytes.labels(name).set_function(lambda name=name: self._lag_bytes(name))  # type: ignore[misc]
            metrics.covered_lsn.labels(name).set(self._position.lsn)
            for counter in (metrics.written, metrics.deleted, metrics.repaired, metrics.sliced):
                counter.labels(name)
        metrics.lag_records.set_function(self._lag_records)

    def _lag_records(self) -> float:
        return float(max(0, self._log.end() - self._read_to))

    def _lag_bytes(self, name: str) -> int:
        aside = self._coverage.put_aside.get(name)
        return max(0, self._seen_lsn - (aside.since if aside else self._position.lsn))

    def _lag_seconds(self, name: str) -> float:
        aside = self._coverage.put_aside.get(name)
        if aside is None and self._lag_records() == 0:
            return 0.0
        return max(0.0, self._clock() - (aside.since_at if aside else self._position.committed_at) / 1e6)
