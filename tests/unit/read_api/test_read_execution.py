"""A read on the driver's connections: rows are taken here, all else is the driver's, which goes on where it stood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import RESULT_KIND_ROWS, ExecuteMessage, ProtocolHandler, ResultMessage

from read_api.execution import Execution, Rows, execute_frame
from read_api.protocol import RawRows

SKIP_METADATA = 0x02
QUORUM = ConsistencyLevel.LOCAL_QUORUM


class Prepared:
    """Each is another, as the driver's are."""

    query_id = b"q" * 16
    result_metadata_id = b"m" * 16

    def __init__(self, known: bool = True) -> None:
        self.result_metadata = [("k", "t", "c", None)] if known else []


def statement(values: list[bytes | None], fetch_size: int = 50, *, prepared: Prepared | None = None) -> Any:
    return SimpleNamespace(prepared_statement=prepared or Prepared(), values=values, fetch_size=fetch_size)


@pytest.mark.parametrize("state", [None, b"state"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("values", [[], [b"a", None, b""]])
def test_a_request_is_the_drivers_but_asks_for_no_types_that_are_known(
    values: list[bytes | None], known: bool, state: bytes | None
) -> None:
    bound = statement(values, prepared=Prepared(known))
    message = ExecuteMessage(
        b"q" * 16, values, QUORUM, fetch_size=50, paging_state=state, skip_meta=known, result_metadata_id=b"m" * 16
    )
    message.tracing = False
    expected = bytearray(ProtocolHandler.encode_message(message, 7, 5, None, False))
    if known:
        flags = expected.index(b"m" * 16) + 16 + 2 + 3  # after the consistency level, the last byte of four
        expected[flags] |= SKIP_METADATA
    assert execute_frame(bound, QUORUM, state, 7) == bytes(expected)


@dataclass
class Connection:
    """Keeps what is sent. refuses: what sending raises."""

    refuses: Exception | None = None
    writes: int = 0
    sent: list[tuple[int, Callable[[Any], None]]] = field(default_factory=list)

    def send_frame(self, frame: bytes, stream: int, callback: Callable[[Any], None], *_: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append((stream, callback))


@dataclass
class Pool:
    connection: Connection
    is_shutdown: bool = False
    borrowed: int = 0

    def borrow_connection(self, timeout: float) -> tuple[Connection, int]:
        self.borrowed += 1
        return self.connection, 3

    def return_connection(self, connection: Connection) -> None:
        self.borrowed -= 1


class Driver:
    """A session of hosts a and b; the futures that it makes say what became of them."""

    client_protocol_handler = RawRows

    def __init__(self, seconds: float = 60.0) -> None:
        self.connection = Connection()
        self.pool = Pool(self.connection)
        self._pools = {"a": self.pool}
        self.futures: list[Any] = []
        policy = SimpleNamespace(make_query_plan=lambda *_: iter(("a", "b")))
        self.profile: Any = SimpleNamespace(
            load_balancing_policy=policy, consistency_level=QUORUM, request_timeout=seconds
        )

    def _create_response_future(self, _bound: Any, _p: Any, _t: Any, _c: Any, seconds: float, *_: Any) -> Any:
        made = SimpleNamespace(seconds=seconds, attempted_hosts=[], query_plan=None, did=[], _paging_state=b"later")

        def add_callbacks(callback: Any, errback: Any) -> None:
            made.callback, made.errback = callback, errback

        made.add_callbacks = add_callbacks
        made.send_request = lambda: made.did.append("sent")
        made._set_result = lambda *args: made.did.append(args)
        made._on_timeout = lambda: made.errback(TimeoutError("nothing came"))
        self.futures.append(made)
        return made


def rows(*found: tuple[Any, ...]) -> ResultMessage:
    reply = ResultMessage(RESULT_KIND_ROWS)
    reply.parsed_rows, reply.paging_state = list(found), b"next"
    return reply


def test_rows_are_taken_and_the_connection_is_given_back() -> None:
    async def run() -> None:
        driver = Driver()
        execution = Execution(driver, driver.profile)
        future = execution(statement([b"a"]), None)
        ((stream, reply),) = driver.connection.sent
        assert (stream, driver.pool.borrowed) == (3, 1)
        reply(rows((1,), (2,)))
        assert await future == Rows([(1,), (2,)], b"next")
        assert (driver.pool.borrowed, driver.futures) == (0, [])

    asyncio.run(run())


def test_what_is_asked_again_before_it_is_written_is_asked_once() -> None:
    async def run() -> None:
        driver, prepared = Driver(), Prepared()
        execution = Execution(driver, driver.profile)

        def ask(value: bytes = b"a", size: int = 50, state: bytes | None = None, of: Prepared = prepared) -> Any:
            return execution(statement([value], size, prepared=of), state)

        together = [ask(), ask(), ask()]
        others = [ask(b"b"), ask(size=51), ask(state=b"state"), ask(of=Prepared())]
        assert len(driver.connection.sent) == 1 + len(others)
        together[0].cancel()
        driver.connection.writes += 1
        later = ask()
        again = ask()
        assert len(driver.connection.sent) == 2 + len(others)
        driver.connection.sent[0][1](rows((1,)))
        first, second = await together[1], await together[2]
        assert first is second
        assert first == Rows([(1,)], b"next")
        assert not any(future.done() for future in (*others, later, again))
        driver.connection.sent[-1][1](rows((2,)))
        assert (await later).rows == (await again).rows == [(2,)]
        assert driver.pool.borrowed == len(others)
        assert len(driver.connection.sent) == 2 + len(others)
        ask()  # nothing of it is under way any more
        assert len(driver.connection.sent) == 3 + len(others)

    asyncio.run(run())


def test_who_shares_a_request_is_told_of_its_trouble() -> None:
    async def run() -> None:
        driver, prepared = Driver(), Prepared()
        execution = Execution(driver, driver.profile)
        together = [execution(statement([], prepared=prepared), None) for _ in range(2)]
        driver.connection.sent[0][1](ConnectionShutdown("gone"))  # before it was written
        late = execution(statement([], prepared=prepared), None)
        assert len(driver.connection.sent) == 2
        (made,) = driver.futures
        made.errback(NoHostAvailable("none", {}))
        for future in together:
            with pytest.raises(NoHostAvailable):
                await future
        assert not late.done()

    asyncio.run(run())


def test_a_reply_to_nobody_is_no_error() -> None:
    async def run() -> None:
        driver = Driver()
        future = Execution(driver, driver.profile)(statement([]), None)
        future.cancel()
        driver.connection.sent[0][1](rows((1,)))
        assert (driver.pool.borrowed, future.cancelled()) == (0, True)

    asyncio.run(run())


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_what_is_no_rows_is_given_to_the_driver_as_if_it_had_sent_the_request(in_a_thread: bool) -> None:
    async def run() -> None:
        driver = Driver()
        future = Execution(driver, driver.profile)(statement([]), b"state")
        trouble, reply = ConnectionShutdown("gone"), driver.connection.sent[0][1]
        if in_a_thread:
            await asyncio.to_thread(reply, trouble)
        else:
            reply(trouble)
        (made,) = driver.futures
        assert made.did == [("a", driver.connection, driver.pool, trouble)]
        assert (made._current_host, made._connection, made._req_id) == ("a", driver.connection, 3)
        assert (made.attempted_hosts, list(made.query_plan)) == (["a"], ["b"])
        assert 0 < made.seconds <= 60.0
        await asyncio.to_thread(made.callback, [(5,)])  # after a retry, on a thread of the driver's
        assert await future == Rows([(5,)], b"later")

    asyncio.run(run())


def test_the_driver_says_that_nothing_came_in_time() -> None:
    async def run() -> None:
        driver = Driver(seconds=0.01)
        execution = Execution(driver, driver.profile)
        first, second, third = (execution(statement([]), None) for _ in range(3))
        driver.connection.sent[1][1](rows())
        for future in (first, third):
            with pytest.raises(TimeoutError, match="nothing came"):
                await asyncio.wait_for(asyncio.shield(future), 20)
        assert (await second).rows == []
        assert len(driver.futures) == 2

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["no pool", "shut down", "refuses"])
def test_what_was_not_sent_is_left_to_the_driver(trouble: str) -> None:
    async def run() -> None:
        driver = Driver()
        if trouble == "no pool":
            driver._pools.clear()
        driver.pool.is_shutdown = trouble == "shut down"
        driver.connection.refuses = ConnectionShutdown("closed") if trouble == "refuses" else None
        future = Execution(driver, driver.profile)(statement([]), None)
        (made,) = driver.futures
        assert (made.did, made.seconds, driver.pool.borrowed) == (["sent"], 60.0, 0)
        made.errback(NoHostAvailable("none", {}))
        with pytest.raises(NoHostAvailable):
            await future

    asyncio.run(run())
