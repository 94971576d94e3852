"""The writer while connections are cut and stalled, by a relay of bytes on loopback between it and Cassandra."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.cluster import Session

from command_api.process.settings import Cassandra
from projections.cassandra_table import CassandraTable
from projector.cassandra.errors import (
    CassandraUnreachableError,
    WriterStoppedError,
)
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer
from tests.integration.write.stand import T, stored


class Wire:
    """A relay of bytes between clients and the server; `cut` closes every connection, `stall` passes nothing on."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._over = False
        self.stalled = False
        self.port = 0
        self.open()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
            self._selector.register(listener, selectors.EVENT_READ)

    def shut(self) -> None:
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
        self.cut()

    def cut(self) -> None:
        with self._lock:
            for end in list(self._peers):
                self._drop(end)

    def stall(self) -> None:
        """Hold back the bytes of the connections of now; later ones pass."""
        with self._lock:
            for end in self._peers:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(end)

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self.shut()
        self._selector.close()

    def _drop(self, end: socket.socket) -> None:
        other = self._peers.pop(end, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(end)
        end.close()
        if other is not None:
            self._drop(other)

    def _run(self) -> None:
        while not self._over:
            events = self._selector.select(0.02)
            with self._lock:
                for key, _ in events:
                    end = key.fileobj
                    if end is self._listener:
                        client, _ = self._listener.accept()
                        server = socket.create_connection(self._server)
                        for one, other in ((client, server), (server, client)):
                            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            self._peers[one] = other
                            self._selector.register(one, selectors.EVENT_READ)
                    elif end in self._peers:
                        self._pass(end)  # type: ignore[arg-type]

    def _pass(self, end: socket.socket) -> None:
        try:
            data = end.recv(1 << 16)
            if data:
                self._peers[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)


@pytest.fixture
def wire(stack: Any) -> Iterator[Wire]:
    wire = Wire(stack.cassandra)
    yield wire
    wire.close()


@pytest.fixture
def far(wire: Wire) -> Iterator[Session]:
    """The projector's session through the wire."""
    session = connect(Cassandra(contact_points=("127.0.0.1",), port=wire.port))
    yield session
    close(session)


def test_cut_connections_lose_no_row(
    far: Session, wire: Wire, cassandra_session: Session, notes: CassandraTable
) -> None:
    retries: list[str] = []
    writer = Writer(far, on_retry=retries.append, in_flight=8)
    writer.prepare(notes)
    done = threading.Event()

    def cut_again_and_again() -> None:
        while not done.wait(0.4):
            wire.cut()

    cutter = threading.Thread(target=cut_again_and_again)
    cutter.start()
    expected: dict[tuple[int, int], str] = {}
    try:
        until, version = time.monotonic() + 4, 0
        while time.monotonic() < until or not retries:
            version += 1
            rows = [(n, version % 20, f"v{version}") for n in range(300)]
            writer.upsert("notes", rows, T + version)
            expected |= {row[:2]: row[2] for row in rows}
    finally:
        done.set()
        cutter.join()
    writer.drain()
    assert stored(cassandra_session, notes) == {(*key, value) for key, value in expected.items()}
    assert {"connection", "no_host"} & set(retries)


def test_a_connection_that_goes_silent_is_given_up_and_replaced(
    far: Session, wire: Wire, cassandra_session: Session, notes: CassandraTable
) -> None:
    retries: list[str] = []
    writer = Writer(far, on_retry=retries.append, request_timeout_s=0.3)
    writer.prepare(notes)
    wire.stall()
    rows = [(n, n, "x") for n in range(2_000)]
    writer.upsert("notes", rows, T)
    writer.drain()
    assert stored(cassandra_session, notes) == set(rows)
    assert "timeout" in retries
    pools = list(far._pools.values())
    assert [pool.get_connections()[0].in_flight for pool in pools] == [0]


def test_a_server_that_is_away_is_waited_for(
    far: Session, wire: Wire, cassandra_session: Session, notes: CassandraTable, caplog: pytest.LogCaptureFixture
) -> None:
    retries: list[str] = []
    writer = Writer(far, on_retry=retries.append)
    writer.prepare(notes)
    wire.shut()
    threading.Timer(1.5, wire.open).start()
    rows = [(n, n, "x") for n in range(1_000)]
    began = time.monotonic()
    writer.upsert("notes", rows, T)
    writer.drain()
    assert 1.0 < time.monotonic() - began < 20
    assert stored(cassandra_session, notes) == set(rows)
    assert "no_host" in retries


def test_stop_ends_the_wait_for_a_server_that_is_away(far: Session, wire: Wire, notes: CassandraTable) -> None:
    stop = threading.Event()
    writer = Writer(far, stop=stop)
    writer.prepare(notes)
    wire.shut()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    writer.upsert("notes", [(n, 1, "x") for n in range(100)], T)
    with pytest.raises(WriterStoppedError, match="next start"):
        writer.drain()
    assert time.monotonic() - began < 5


def test_no_server_is_an_error_that_says_what_to_look_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(CassandraUnreachableError, match=rf"127\.0\.0\.1:{port}.*local_datacenter"):
        connect(Cassandra(port=port), deadline_s=1.2)
