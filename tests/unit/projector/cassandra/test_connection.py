"""What a connection sends, byte for byte, over a pair of sockets: held batches together, in order, and nothing lost."""

from __future__ import annotations

import io
import socket
import threading
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from cassandra import ConsistencyLevel
from cassandra.connection import ConnectionBusy, ConnectionShutdown
from cassandra.io import libevreactor
from cassandra.segment import Segment, SegmentCodec

from projector.cassandra.connection import Connection
from projector.cassandra.frames import Batch, encode_batch


class Made(Connection):
    """A connection that is made over a socket that there is, and notes what it is ended with."""

    def __init__(self, own: socket.socket, version: int) -> None:
        self._held, self._held_bytes = [], 0
        self._socket, self._socket_writable = own, True
        self._requests, self.deque, self._deque_lock = {}, deque(), threading.Lock()
        self.protocol_version, self._is_checksumming_enabled = version, version >= 5
        self._segment_codec = SegmentCodec()
        self.is_defunct = self.is_closed = False
        self.endpoint = "there"
        self.ended: list[BaseException] = []

    def defunct(self, exc: BaseException) -> None:
        self.ended.append(exc)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    own, other = socket.socketpair()
    own.setblocking(False)
    other.setblocking(False)
    yield own, other
    own.close()
    other.close()


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the event thread was woken, which is not there."""
    times: list[int] = []
    monkeypatch.setattr(libevreactor, "_global_loop", SimpleNamespace(notify=lambda: times.append(1)))
    return times


def batch(number: int, size: int = 100) -> Batch:
    return [bytes([number]) * size], ConsistencyLevel.LOCAL_QUORUM, number


def frame(number: int, version: int, size: int = 100) -> bytes:
    return encode_batch(batch(number, size), number, version)


def received(other: socket.socket) -> bytes:
    parts = []
    while True:
        try:
            parts.append(other.recv(1 << 20))
        except BlockingIOError:
            return b"".join(parts)


def payloads(data: bytes) -> list[bytes]:
    """Of self-contained segments."""
    codec, buffer, found = SegmentCodec(), io.BytesIO(data), []
    while buffer.tell() < len(data):
        segment = codec.decode(buffer, codec.decode_header(buffer))
        assert segment.is_self_contained
        found.append(segment.payload)
    return found


def test_held_batches_go_as_one_segment(sockets: tuple[socket.socket, socket.socket], woken: list[int]) -> None:
    own, other = sockets
    connection = Made(own, 5)
    for number in (1, 2, 3):
        connection.hold(batch(number), number, lambda _: None)
    assert received(other) == b""
    assert set(connection._requests) == {1, 2, 3}
    connection.let_go()
    assert payloads(received(other)) == [frame(1, 5) + frame(2, 5) + frame(3, 5)]
    connection.let_go()
    assert received(other) == b""
    assert woken == []


def test_before_version_5_there_are_no_segments(sockets: tuple[socket.socket, socket.socket]) -> None:
    own, other = sockets
    connection = Made(own, 4)
    for number in (1, 2):
        connection.hold(batch(number), number, lambda _: None)
    connection.let_go()
    assert received(other) == frame(1, 4) + frame(2, 4)


def test_enough_goes_by_itself(sockets: tuple[socket.socket, socket.socket]) -> None:
    own, other = sockets
    connection = Made(own, 5)
    connection.hold(batch(1, 20_000), 1, lambda _: None)
    assert received(other) == b""
    connection.hold(batch(2, 20_000), 2, lambda _: None)
    assert payloads(received(other)) == [frame(1, 5, 20_000) + frame(2, 5, 20_000)]


def test_what_a_segment_has_no_room_for_is_not_cut_at_another_message(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    own, other = sockets
    connection = Made(own, 5)
    sizes = {1: 20_000, 2: 120_000}
    for number, size in sizes.items():
        connection.hold(batch(number, size), number, lambda _: None)
    sent = payloads(received(other))
    assert sent == [frame(number, 5, size) for number, size in sizes.items()]
    assert all(len(payload) <= Segment.MAX_PAYLOAD_LENGTH for payload in sent)


def test_what_the_kernel_does_not_take_waits_in_order(
    sockets: tuple[socket.socket, socket.socket], woken: list[int]
) -> None:
    own, other = sockets
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = Made(own, 4)
    given = [bytes([number]) * 300_000 for number in range(4)]
    for data in given:
        connection.push(data)
    assert not connection._socket_writable
    assert len(woken) == len(given)
    with pytest.raises(ConnectionBusy):
        connection.hold(batch(1), 1, lambda _: None)
    assert connection._requests == {}
    taken = b""
    while connection.deque:
        taken += received(other)
        connection.handle_write(None, 0)
    assert taken + received(other) == b"".join(given)
    assert connection._socket_writable
    assert connection.ended == []


def test_an_error_ends_the_connection_in_the_event_thread(
    sockets: tuple[socket.socket, socket.socket], woken: list[int]
) -> None:
    own, other = sockets
    connection = Made(own, 4)
    other.close()
    connection.push(b"lost")
    assert connection.ended == []
    assert woken == [1]
    connection.handle_write(None, 0)
    assert [type(error) for error in connection.ended] == [BrokenPipeError]


def test_a_closed_connection_takes_nothing(sockets: tuple[socket.socket, socket.socket]) -> None:
    connection = Made(sockets[0], 5)
    connection.is_closed = True
    with pytest.raises(ConnectionShutdown):
        connection.hold(batch(1), 1, lambda _: None)
    assert connection._requests == {}
