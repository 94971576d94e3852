"""A prepared SELECT, executed on the driver's connections without a future of the driver's own for each.

    plan ──▶ host's pool ──▶ connection ──▶ rows                                       (here)
                                       └──▶ anything else, or nothing in time          (the driver, from there on)

Whoever asks for a page that somebody asked for in the same turn of the loop, and that is not written to the socket yet, shares
its request: a partition that everybody reads costs Cassandra one read a turn, and nobody gets a read that began before he asked.
The driver's `ResponseFuture` costs more than sending a request and taking its reply: locks, an event, a timer each. It is
made when there is trouble, and goes on as if it had sent the request: what it does about errors, statements that a node has
forgotten, nodes that are away and time-outs is what is done. Promised: the results and errors of `Session.execute_async`, on
the loop. Not promised: any of this for what is no SELECT, or off the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile, ResponseFuture, Session
from cassandra.protocol import RESULT_KIND_ROWS, ExecuteMessage, ResultMessage
from cassandra.query import BoundStatement, PreparedStatement

from read_api.protocol import RawRows

_BORROW_SECONDS = 2.0  # the driver's own, for a connection all of whose streams are under way
_VERSION = 5
_VALUES, _SKIP_METADATA, _PAGE_SIZE, _PAGING_STATE = 0x01, 0x02, 0x04, 0x08
_NULL = b"\xff\xff\xff\xff"
_head = struct.Struct(">BBhBi").pack
_short = struct.Struct(">H").pack
_int = struct.Struct(">i").pack
_query = struct.Struct(">HIH").pack  # consistency level, flags, number of values


@dataclass(slots=True)
class Rows:
    """Rows as tuples in the order of the statement's columns; `state` continues after them, None at the end.

    encoded: what a reader has made of them, for those who share them.
    """

    rows: Sequence[tuple[Any, ...]]
    state: bytes | None
    encoded: bytes | None = field(default=None, compare=False)


def execute_frame(bound: BoundStatement, consistency: int, state: bytes | None, stream: int) -> bytes:
    """The EXECUTE of a bound SELECT, with the wish for no metadata where the statement has them."""
    prepared: PreparedStatement = bound.prepared_statement
    values: Sequence[bytes | None] = bound.values
    flags = _VALUES | _PAGE_SIZE
    if prepared.result_metadata:
        flags |= _SKIP_METADATA
    if state:
        flags |= _PAGING_STATE
    parts: list[bytes] = [
        _short(len(prepared.query_id)), prepared.query_id,
        _short(len(prepared.result_metadata_id)), prepared.result_metadata_id,
        _query(consistency, flags, len(values)),
    ]  # fmt: skip
    for value in values:
        parts += (_NULL,) if value is None else (_int(len(value)), value)
    parts.append(_int(bound.fetch_size))
    if state:
        parts += (_int(len(state)), state)
    body = b"".join(parts)
    return _head(_VERSION, 0, stream, ExecuteMessage.opcode, len(body)) + body


class Execution:
    """Executes on one session, whose connections are on this loop. To be made there."""

    def __init__(self, session: Session, profile: ExecutionProfile) -> None:
        self.session = session
        self.seconds: float = profile.request_timeout
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self._plan = profile.load_balancing_policy.make_query_plan
        self._consistency: int = profile.consistency_level
        self._under_way: dict[_Request, float] = {}  # until when; the first one first
        self._shared: dict[Hashable, _Request] = {}  # those under way, by what is asked
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, bound: BoundStatement, state: bytes | None) -> asyncio.Future[Rows]:
        """One page of rows, as many as the statement's `fetch_size`, or what the driver raises."""
        asked = (bound.prepared_statement, bound.fetch_size, state, *bound.values)
        shared = self._shared.get(asked)
        if shared is not None and shared.is_unwritten:
            return shared.future()
        request = _Request(self, asked, bound, state)
        future = request.future()
        plan: Iterator[Any] = iter(self._plan(None, bound))
        host = next(plan, None)
        pool = self.session._pools.get(host)
        if pool is None or pool.is_shutdown or not self._send(request, host, pool, plan):
            request.leave()  # the driver knows who is next
        return future

    def _send(self, request: _Request, host: Any, pool: Any, plan: Iterator[Any]) -> bool:
        try:
            connection, stream = pool.borrow_connection(timeout=_BORROW_SECONDS)
        except Exception:  # whatever it is, the driver goes to another host
            return False
        request.sent = host, connection, pool, stream, plan
        request.writes = connection.writes
        bound = request.bound
        try:
            connection.send_frame(
                execute_frame(bound, self._consistency, request.state, stream),
                stream, request.replied, RawRows.decode_message, bound.prepared_statement.result_metadata,
            )  # fmt: skip
        except Exception:
            pool.return_connection(connection)
            return False
        self._under_way[request] = self.loop.time() + self.seconds
        self._shared[request.asked] = request
        if self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self._look)
        return True

    def ended(self, request: _Request) -> float:
        """The seconds that a request has left, which is looked after no more; on the loop."""
        if self._shared.get(request.asked) is request:
            del self._shared[request.asked]
        until = self._under_way.pop(request, None)
        return 0.0 if until is None else until - self.loop.time()

    def _look(self) -> None:
        """Whose time is over. One timer for all: each has as long as the others, so the first one is the first to end."""
        self._timer = None
        now = self.loop.time()
        for request, until in list(self._under_way.items()):
            if until > now:
                self._timer = self.loop.call_at(until, self._look)
                return
            request.late()


class _Request:
    """One EXECUTE, for whoever asks the same until it is written.

    sent: host, connection, pool, stream, and the rest of the plan. writes: the connection's until then.
    """

    __slots__ = ("_execution", "_futures", "asked", "bound", "sent", "state", "writes")

    sent: tuple[Any, Any, Any, int, Iterator[Any]]
    writes: int

    def __init__(self, execution: Execution, asked: Hashable, bound: BoundStatement, state: bytes | None) -> None:
        self._execution = execution
        self._futures: list[asyncio.Future[Rows]] = []
        self.asked = asked
        self.bound = bound
        self.state = state

    @property
    def is_unwritten(self) -> bool:
        """Whether it waits for the end of this turn of the loop."""
        writes: int = self.sent[1].writes
        return writes == self.writes

    def future(self) -> asyncio.Future[Rows]:
        """For one more who asks."""
        made = self._execution.loop.create_future()
        self._futures.append(made)
        return made

    def replied(self, response: Any) -> None:
        """Take a reply; or what became of the connection, on any thread."""
        if threading.get_ident() != self._execution.thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._execution.loop.call_soon_threadsafe(self.replied, response)
        elif isinstance(response, ResultMessage) and response.kind == RESULT_KIND_ROWS:
            _, connection, pool, _, _ = self.sent
            pool.return_connection(connection)
            self._execution.ended(self)
            self._settle(Rows(response.parsed_rows, response.paging_state), None)
        else:
            host, connection, pool, _, _ = self.sent
            self._given_over()._set_result(host, connection, pool, response)

    def late(self) -> None:
        """Have the driver say that nothing came, and keep the stream from others while something may come yet."""
        self._given_over()._on_timeout()

    def leave(self) -> None:
        """Leave it to the driver, as if nothing had been done."""
        self._follow(self._driver_future(self._execution.seconds)).send_request()

    def _given_over(self) -> ResponseFuture:
        """The driver's future, at the point where we are."""
        host, connection, _, stream, plan = self.sent
        future = self._follow(self._driver_future(max(0.001, self._execution.ended(self))))
        future.query_plan = plan
        future._current_host, future._connection, future._req_id = host, connection, stream
        future.attempted_hosts.append(host)
        return future

    def _driver_future(self, seconds: float) -> ResponseFuture:
        session = self._execution.session
        future = session._create_response_future(
            self.bound, None, False, {}, seconds, EXEC_PROFILE_DEFAULT, self.state, None
        )
        future._protocol_handler = session.client_protocol_handler
        return future

    def _follow(self, future: ResponseFuture) -> ResponseFuture:
        """Its callbacks run on this loop, or on a thread of the driver's after a failure."""

        def post(rows: Sequence[tuple[Any, ...]] | None, error: BaseException | None) -> None:
            # The driver's public way to the paging state is a ResultSet, whose making blocks.
            found = None if error is not None else Rows(rows or (), future._paging_state)
            if threading.get_ident() == self._execution.thread:
                self._settle(found, error)
                return
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._execution.loop.call_soon_threadsafe(self._settle, found, error)

        future.add_callbacks(lambda rows: post(rows, None), lambda error: post(None, error))
        return future

    def _settle(self, rows: Rows | None, error: BaseException | None) -> None:
        for future in self._futures:
            if future.done():  # the client went away
                continue
            if error is not None:
                future.set_exception(error)
            else:
                assert rows is not None
                future.set_result(rows)
