"""One message out, one answer back: the driver's own connections, used below its `execute_async`.

Promised: every message that was sent is answered exactly once in `answers`, with the driver's message, None (written),
or an exception; a stream id is never lost while its connection lives. An answer that does not come in time is made by
closing the connection: the driver then fails everything under way on it and opens another one, and no id is left
waiting for a late answer. Not promised: order, or that an unanswered message had no effect.

The driver keeps the topology, the pools, reconnection, TLS and the protocol version; what it would do per message (a
future, a timer, a query plan over copies) is what is saved here.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from cassandra import OperationTimedOut
from cassandra.cluster import Session
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import PrepareMessage, ResultMessage

from projector.cassandra.frames import Batch

_BORROW_SECONDS = 1.0


class NoLaneError(Exception):
    """No connection could take the message; `busy` when only because send buffers are full."""

    def __init__(self, busy: bool) -> None:
        super().__init__("every connection's send buffer is full" if busy else "no node is connected")
        self.busy = busy


class Lanes:
    """The connections of a session. `answers` holds (token, attempt, answer); read it from one thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._policy = session.cluster.profile_manager.default.load_balancing_policy
        self._holding: set[Any] = set()
        self.answers: queue.SimpleQueue[tuple[Any, int, Any]] = queue.SimpleQueue()

    def send(self, batch: Batch, token: Any, attempt: int, preferred: Sequence[Any] = ()) -> Any:
        """Send, by the next `let_go`, on the first connection that takes it, `preferred` hosts first; returns the connection.

        Raises NoLaneError; then nothing was sent and no answer will come.
        """
        busy = False
        pools = self._session._pools
        for hosts in (preferred, self._policy.make_query_plan()):
            for host in hosts:
                pool = pools.get(host)
                if pool is None or pool.is_shutdown:
                    continue
                try:
                    connection, stream_id = pool.borrow_connection(_BORROW_SECONDS)
                except (NoConnectionsAvailable, ConnectionException):
                    continue
                try:
                    connection.hold(batch, stream_id, self._answer_to(token, attempt, pool, connection))
                    self._holding.add(connection)
                    return connection
                except ConnectionBusy:
                    busy = True
                    with connection.lock:  # refused before the message was registered: its id is free again
                        connection.request_ids.append(stream_id)
                    pool.return_connection(connection)
                except (ConnectionException, OSError):
                    pool.return_connection(connection)  # the pool sees that it is closed and replaces it
        raise NoLaneError(busy)

    def let_go(self) -> None:
        """Send all that is held to go together."""
        while self._holding:
            self._holding.pop().let_go()

    def _answer_to(self, token: Any, attempt: int, pool: Any, connection: Any) -> Any:
        put = self.answers.put

        def answered(answer: Any) -> None:
            try:
                pool.return_connection(connection)
            finally:
                put((token, attempt, answer))

        return answered

    def give_up(self, connection: Any, seconds: float) -> None:
        """Close a connection that did not answer in `seconds`; all under way on it is answered with an error."""
        connection.defunct(OperationTimedOut(f"no answer in {seconds:g} s", connection.endpoint))

    def prepare_again(self, connection: Any, cql: str, timeout_s: float) -> bytes:
        """Prepare a statement that a restarted node has forgotten; its id. Raises what the driver or the server says."""
        message = PrepareMessage(query=cql)
        try:
            # Not failing on errors: the driver would close the connection for a server's refusal.
            ((_, answer),) = connection.wait_for_responses(message, timeout=timeout_s, fail_on_error=False)
        except OperationTimedOut:
            self.give_up(connection, timeout_s)
            raise
        if isinstance(answer, BaseException):
            raise answer
        if not isinstance(answer, ResultMessage):
            raise ConnectionException(f"unexpected answer to a PREPARE: {answer!r}", connection.endpoint)
        statement_id: bytes = answer.query_id
        return statement_id
