"""Whole rows and row deletes into Cassandra, in bulk, each with the write timestamp of its commit.

Promised: after `drain` returns, every row given to `upsert` and `delete` is acknowledged at the writer's consistency
level. A row that Cassandra can't hold is named by `drain`, once every other one is acknowledged. Anything else that
goes wrong (a time-out, too few replicas, a lost connection, a server that is away) is tried again until it succeeds or
`stop` is set, with growing pauses, logged and counted: a resend is always right because its timestamp makes it the
same write. Not promised: any order between rows; what is given twice with one timestamp must be equal.

One thread uses a writer. Answers arrive on the driver's event thread and are only queued there; everything is decided
in the caller's thread, so `upsert` is the place where a failing batch is noticed, and `drain` where it is waited for.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from cassandra import ConsistencyLevel, InvalidRequest
from cassandra.cluster import Session
from cassandra.protocol import (
    ErrorMessage,
    InvalidRequestException,
    PreparedQueryNotFound,
    ProtocolException,
    RequestValidationException,
    ServerError,
)

from command_api.process.logging import get_logger
from projections.cassandra_table import POSITIONS, CassandraTable
from projector.cassandra.batches import Bounds, batches, by_partition
from projector.cassandra.encode import Row, RowEncoder
from projector.cassandra.errors import (
    MissingTableError,
    RefusedRow,
    RefusedRowError,
    RefusedStatementError,
    WriterStoppedError,
    kind_of,
)
from projector.cassandra.lanes import Lanes, NoLaneError
from projector.cassandra.patience import patiently
from projector.cassandra.progress import Position, position_rows, positions_table, read_positions
from projector.cassandra.ring import Rings
from projector.cassandra.statements import Request, Statement, prepare

_log = get_logger(__name__)
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0
_BUSY_PAUSE = 0.001
_LOOK_AROUND = 0.1  # the longest wait between looks at the stop event
_LOG_EVERY = 5.0
_SERVER_ERRORS = 6  # how often a single row may be answered with "server error" before it counts as refused


class Writer:
    """Writes rows of prepared tables. See the module for what is promised.

    rows_per_batch, batch_bytes, partitions_per_batch: bounds of a batch that spans partitions. in_flight: batches under way
    at once, those that wait for another try included; `upsert` and `delete` block at that bound. request_timeout_s: without
    an answer for this long, the connection is given up. stop: ends any wait for a Cassandra that fails. on_retry: called
    with the kind of failure, as `kind_of` names it. on_write: told of what is sent: its table, the rows' entries, where
    their values begin, and how many are the partition key. on_refused: told of a row that Cassandra can't hold; True when
    that is seen to, and `drain` need not raise.
    """

    def __init__(
        self,
        session: Session,
        *,
        rows_per_batch: int = 30,
        batch_bytes: int = 4096,
        partitions_per_batch: int = 10,
        in_flight: int = 32,
        consistency: int = ConsistencyLevel.LOCAL_QUORUM,
        request_timeout_s: float = 10.0,
        stop: threading.Event | None = None,
        on_retry: Callable[[str], None] | None = None,
        on_write: Callable[[str, Sequence[bytes], int, int], None] = lambda _table, _entries, _head, _width: None,
        on_refused: Callable[[RefusedRow], bool] = lambda _row: False,
    ) -> None:
        self.session = session
        self._lanes = Lanes(session)
        self._bounds = Bounds(rows=rows_per_batch, size=batch_bytes, partitions=partitions_per_batch)
        self._limit = in_flight
        self._consistency = consistency
        self._timeout = request_timeout_s
        self._stop = stop or threading.Event()
        self._on_retry = on_retry or (lambda kind: None)
        self._on_write = on_write
        self._on_refused = on_refused
        self._upserts: dict[str, Statement] = {}
        self._deletes: dict[str, Statement] = {}
        self._sent: dict[int, Request] = {}  # by id(), in the order of sending: the first is the oldest
        self._ready: deque[Request] = deque()
        self._paused: list[tuple[float, int, Request]] = []
        self._sequence = itertools.count()
        self._refused: list[RefusedRow] = []
        self._failing_since: float | None = None
        self._said_failing = False
        self._logged: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}
        self._rings = Rings(session)
        self._prepared_at: dict[tuple[Any, str], float] = {}

    # -- what a worker calls ------------------------------------------------------------------------------------------

    def prepare(self, table: CassandraTable) -> None:
        """Prepare a table's INSERT and DELETE; raises MissingTableError, WriterStoppedError."""
        encoder = RowEncoder(table)
        self._upserts[table.name] = self._prepare(encoder, table.insert(), keys_only=False)
        self._deletes[table.name] = self._prepare(encoder, table.delete(), keys_only=True)

    def upsert(self, table_name: str, rows: Sequence[Row], timestamp: int) -> None:
        """Send whole rows (replica values in the order of the table's columns; None is written as null).

        Returns when all are sent, at most `in_flight` batches of them unacknowledged. Raises RefusedStatementError
        and WriterStoppedError.
        """
        self._write(self._upserts[table_name], rows, timestamp)

    def delete(self, table_name: str, keys: Sequence[Row], timestamp: int) -> None:
        """Send row deletes (key values in the order of the table's key); otherwise as `upsert`."""
        self._write(self._deletes[table_name], keys, timestamp)

    def drain(self) -> None:
        """Wait until all that was sent is acknowledged.

        Raises RefusedRowError (once, with all rows refused since the last drain, when all others are acknowledged),
        RefusedStatementError, WriterStoppedError.
        """
        while self._open:
            self._turn()
        if self._refused:
            refused, self._refused = self._refused, []
            raise RefusedRowError(refused)

    def publish_positions(
        self,
        positions: Mapping[str, int],
        committed_at: int,
        epoch: int,
        *,
        keyspace: str,
        projection: str,
        shard: int = 0,
    ) -> None:
        """Record that each read model covers the log up to its LSN; `committed_at` is in microseconds.

        Waits for all rows before and for the positions' own acknowledgement. Raises as `drain` and `prepare`; a
        RefusedRowError about rows comes before anything is published.
        """
        self.drain()
        if POSITIONS not in self._upserts:
            self.prepare(positions_table(keyspace))
        for timestamp, rows in position_rows(projection, shard, positions, committed_at, epoch).items():
            self.upsert(POSITIONS, rows, timestamp)
        self.drain()

    def read_positions(self, *, keyspace: str, projection: str, shard: int = 0) -> dict[str, Position]:
        """Each read model's published position; raises MissingTableError, WriterStoppedError."""
        return patiently(lambda: read_positions(self.session, keyspace, projection, shard), self._stop)

    def _prepare(self, encoder: RowEncoder, cql: str, *, keys_only: bool) -> Statement:
        return patiently(partial(prepare, self.session, encoder, cql, keys_only=keys_only), self._stop)

    # -- sending ------------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> int:
        return len(self._sent) + len(self._ready) + len(self._paused)

    def _write(self, statement: Statement, rows: Sequence[Row], timestamp: int) -> None:
        width = len(statement.encoder.table.partition_key)
        rows = by_partition(rows, width)
        try:
            entries = statement.bind(rows)
        except ValueError:
            rows = self._refuse_unencodable(statement, rows, timestamp)
            entries = statement.bind(rows)
        head = 5 + len(statement.prepared.query_id)
        self._on_write(statement.table, entries, head, width)
        ring = self._rings.of(statement.encoder.table.keyspace)
        if ring is None:
            self._write_batches(statement, rows, entries, timestamp, ())
        else:
            for replicas, indexes in ring.group(entries, head, width).items():
                own = [rows[i] for i in indexes]
                self._write_batches(statement, own, [entries[i] for i in indexes], timestamp, replicas)
        while self._ready:
            self._turn()
        self._lanes.let_go()

    def _write_batches(
        self,
        statement: Statement,
        rows: Sequence[Row],
        entries: Sequence[bytes],
        timestamp: int,
        replicas: tuple[Any, ...],
    ) -> None:
        width = len(statement.encoder.table.partition_key)
        turn = 0
        for first, last in batches(rows, entries, width, statement.overhead, self._bounds):
            while self._open >= self._limit:
                self._turn()
            request = Request(statement, rows[first:last], entries[first:last], timestamp)
            request.replicas = replicas[turn:] + replicas[:turn]
            turn = (turn + 1) % len(replicas) if replicas else 0
            self._send(request)

    def _refuse_unencodable(self, statement: Statement, rows: Sequence[Row], timestamp: int) -> list[Row]:
        refusals = dict(statement.encoder.refusals(rows, keys_only=statement.keys_only))
        if not statement.keys_only:  # a key without a form in CQL was never written: nothing is to be deleted
            for refused in refusals.values():
                self._refuse(statement, refused, timestamp)
        return [row for index, row in enumerate(rows) if index not in refusals]

    def _refuse(self, statement: Statement, refused: RefusedRow, timestamp: int) -> None:
        refused = replace(refused, timestamp=timestamp)
        if statement.keys_only or not self._on_refused(
            refused
        ):  # a row that can't be deleted stands there as if it were true
            self._refused.append(refused)

    def _send(self, request: Request) -> None:
        request.attempt += 1
        request.sent_at = time.monotonic()
        # Registered before it is sent: the answer may be there before `send` returns.
        self._sent[id(request)] = request
        try:
            request.connection = self._lanes.send(
                (request.entries, self._consistency, request.timestamp), request, request.attempt, request.replicas
            )
        except NoLaneError as error:
            del self._sent[id(request)]
            if error.busy:
                self._pause(request, _BUSY_PAUSE)
            else:
                self._retry(request, "no_host", error)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for the next answer or the end of a pause, and act on it."""
        self._lanes.let_go()
        if self._paused and self._paused[0][2].retries and self._stop.is_set():
            self._end(self._paused[0][2].statement.table, None)
        now = time.monotonic()
        wait = _LOOK_AROUND
        if self._paused:
            wait = min(wait, max(0.0, self._paused[0][0] - now))
        if self._ready and len(self._sent) < self._limit:
            wait = 0.0
        answers = self._lanes.answers
        try:
            token, attempt, answer = answers.get(timeout=wait) if wait else answers.get_nowait()
            while True:
                self._answered(token, attempt, answer)
                token, attempt, answer = answers.get_nowait()
        except queue.Empty:
            pass
        now = time.monotonic()
        while self._paused and self._paused[0][0] <= now:
            self._ready.append(heapq.heappop(self._paused)[2])
        while self._ready and len(self._sent) < self._limit:
            self._send(self._ready.popleft())
        if self._sent and next(iter(self._sent.values())).sent_at + self._timeout < now:
            self._give_up_late(now)

    def _answered(self, request: Request, attempt: int, answer: Any) -> None:
        if request.attempt != attempt or self._sent.pop(id(request), None) is None:
            return  # an answer to a sending that was given up
        if answer is None:
            if self._failing_since is not None:
                self._recovered()
        elif isinstance(answer, PreparedQueryNotFound):
            self._prepare_again(request, answer)
        elif isinstance(answer, InvalidRequestException | ProtocolException):
            self._split_or_refuse(request, answer)
        elif isinstance(answer, RequestValidationException):
            self._abandon()
            raise RefusedStatementError(
                f"Cassandra refuses to write {request.statement.encoder.table.qualified} ({answer.summary_msg()}):"
                " check the permissions of cassandra.username and the keyspace's replication"
            ) from answer
        elif isinstance(answer, ServerError) and request.retries >= _SERVER_ERRORS:
            self._split_or_refuse(request, answer)
        elif isinstance(answer, BaseException):
            self._retry(request, kind_of(answer), answer)
        elif self._failing_since is not None:  # written, with a warning that the driver has logged
            self._recovered()

    def _split_or_refuse(self, request: Request, cause: ErrorMessage) -> None:
        if len(request.rows) == 1:
            statement = request.statement
            self._refuse(statement, statement.encoder.refused(request.rows[0], cause.summary_msg()), request.timestamp)
            return
        for row, entry in zip(request.rows, request.entries, strict=True):
            single = Request(request.statement, (row,), (entry,), request.timestamp)
            single.replicas = request.replicas
            self._ready.append(single)

    def _prepare_again(self, request: Request, cause: BaseException) -> None:
        connection, cql = request.connection, request.statement.cql
        place = (connection.endpoint, cql)
        if self._prepared_at.get(place, 0.0) <= request.sent_at:
            self._count("unprepared", request, cause)
            try:
                statement_id = self._lanes.prepare_again(connection, cql, self._timeout)
            except (InvalidRequest, RequestValidationException) as error:
                self._abandon()
                raise MissingTableError(
                    f"{request.statement.encoder.table.qualified} is gone or has changed ({error}):"
                    " run `projector setup`"
                ) from error
            except Exception as error:  # the connection failed, or the server did: as with any other message
                self._retry(request, kind_of(error), error)
                return
            if statement_id != request.statement.prepared.query_id:
                self._abandon()
                raise MissingTableError(
                    f"{request.statement.encoder.table.qualified} was made anew while it was being written: restart"
                ) from cause
            self._prepared_at[place] = time.monotonic()
        self._ready.append(request)

    def _give_up_late(self, now: float) -> None:
        for request in [r for r in self._sent.values() if r.sent_at + self._timeout < now]:
            if self._sent.get(id(request)) is request:
                cause = TimeoutError(f"no answer in {self._timeout:g} s")
                del self._sent[id(request)]
                request.attempt += 1  # whatever comes for the sending that is given up is ignored
                self._retry(request, "timeout", cause)
                self._lanes.give_up(request.connection, self._timeout)

    # -- another try --------------------------------------------------------------------------------------------------

    def _retry(self, request: Request, kind: str, cause: BaseException) -> None:
        self._count(kind, request, cause)
        if self._stop.is_set():
            self._end(request.statement.table, cause)
        request.retries += 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(request.retries - 1, 16))
        self._pause(request, pause * random.uniform(0.5, 1.0))  # noqa: S311 (spreads resends, no secret)

    def _end(self, table: str, cause: BaseException | None) -> NoReturn:
        self._abandon()
        raise WriterStoppedError(
            f"stopped while Cassandra did not take rows of {table} ({cause or 'see the log'});"
            " they are written on the next start"
        ) from cause

    def _pause(self, request: Request, seconds: float) -> None:
        heapq.heappush(self._paused, (time.monotonic() + seconds, next(self._sequence), request))

    def _count(self, kind: str, request: Request, cause: BaseException) -> None:
        self._on_retry(kind)
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._logged.get(kind, -_LOG_EVERY) < _LOG_EVERY:
            self._unlogged[kind] = self._unlogged.get(kind, 0) + 1
            return
        self._logged[kind] = now
        self._said_failing = True
        _log.warning(
            "cassandra did not take a batch, trying again",
            kind=kind,
            table=request.statement.table,
            cause=str(cause),
            tries=request.retries + 1,
            since_s=round(now - self._failing_since, 1),
            unlogged=self._unlogged.pop(kind, 0),
        )

    def _recovered(self) -> None:
        assert self._failing_since is not None
        if self._said_failing:
            _log.info("cassandra takes batches again", after_s=round(time.monotonic() - self._failing_since, 1))
        self._failing_since = None
        self._said_failing = False

    def _abandon(self) -> None:
        """Forget all that is under way; late answers find nothing to act on."""
        self._sent.clear()
        self._ready.clear()
        self._paused.clear()
