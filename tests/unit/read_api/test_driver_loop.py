"""Connections to Cassandra on the application's loop: bytes arrive whole and in order, an end is told, timers can be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from cassandra.connection import ConnectionShutdown

from read_api.driver_loop import LoopConnection, Timer, connections_on

SECONDS = 20.0
CHUNK = 64 * 1024

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def connected(handler: Handler, test: Callable[[type[LoopConnection], int], Awaitable[None]]) -> None:
    """Run a test against a server that this handler is."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await asyncio.wait_for(test(connections_on(asyncio.get_running_loop()), port), SECONDS)


def test_what_the_socket_does_not_take_at_once_follows_in_order() -> None:
    received, reading, done = bytearray(), asyncio.Event(), asyncio.Event()
    sent = {name: [bytes((name, number)) * (CHUNK // 2) for number in range(150)] for name in (1, 2)}
    wanted = sum(map(len, sent[1] + sent[2]))

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(9)  # what a connection begins with: a message without a body
        await reading.wait()
        received.extend(await reader.readexactly(wanted))
        done.set()
        writer.close()

    async def run(connections: type[LoopConnection], port: int) -> None:
        connection = await asyncio.to_thread(connections, "127.0.0.1", port)
        for chunk in sent[1]:
            connection.push(chunk)
        pushing = threading.Thread(target=lambda: [connection.push(chunk) for chunk in sent[2]])
        pushing.start()
        reading.set()
        await done.wait()
        pushing.join()

    asyncio.run(connected(handler, run))
    found = [bytes(received[at : at + CHUNK]) for at in range(0, wanted, CHUNK)]
    for name, chunks in sent.items():
        assert [chunk for chunk in found if chunk[0] == name] == chunks


def test_what_is_sent_in_a_turn_of_the_loop_is_one_write() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run(connections: type[LoopConnection], port: int) -> None:
        connection = await asyncio.to_thread(connections, "127.0.0.1", port)
        await asyncio.sleep(0)
        written = list[bytes]()
        send = connection._socket.send
        connection._socket = SimpleNamespace(
            send=lambda data: (written.append(bytes(data)), send(data))[1],
            close=connection._socket.close,
            fileno=connection._socket.fileno,
        )
        for part in (b"a", b"b", b"c"):
            before = connection.writes
            connection.push(part)
            assert connection.writes == before  # it can still be shared
        await asyncio.sleep(0.01)
        assert connection.writes == before + 1
        connection.push(b"d")
        await asyncio.sleep(0.01)
        assert written == [b"abc", b"d"]
        connection.close()

    asyncio.run(connected(handler, run))


def test_who_connects_is_told_when_the_server_closes() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def run(connections: type[LoopConnection], port: int) -> None:
        with pytest.raises((ConnectionShutdown, ConnectionError)):  # and not the driver's time-out
            await asyncio.to_thread(connections.factory, "127.0.0.1", SECONDS, port=port)

    asyncio.run(connected(handler, run))


def test_a_connection_that_is_closed_tells_who_waits_and_sends_no_more() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run(connections: type[LoopConnection], port: int) -> None:
        connection = await asyncio.to_thread(connections, "127.0.0.1", port)
        assert not connection.is_closed
        await asyncio.to_thread(connection.close)
        assert connection.connected_event.is_set()
        assert isinstance(connection.last_error, ConnectionShutdown)
        connection.push(b"late")
        connection.close()

    asyncio.run(connected(handler, run))


def test_a_timer_calls_on_the_loop_unless_it_is_cancelled() -> None:
    async def run() -> None:
        connections = connections_on(asyncio.get_running_loop())
        called = list[tuple[str, int]]()
        ended = asyncio.Event()

        def timer(name: str) -> Timer:
            return connections.create_timer(0.0, lambda: called.append((name, threading.get_ident())))

        def in_a_thread(call: Callable[[], object]) -> None:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()  # which holds the loop: nothing is called before it has ended

        timer("here")
        in_a_thread(lambda: timer("from a thread"))
        timer("cancelled here").cancel()
        in_a_thread(timer("cancelled from a thread").cancel)
        in_a_thread(lambda: timer("cancelled before it began").cancel())
        connections.create_timer(0.05, ended.set)
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert sorted(called) == [("from a thread", threading.get_ident()), ("here", threading.get_ident())]

    asyncio.run(run())
