"""Cassandra's connections on the application's own event loop, in place of the driver's thread.

    requests of a turn of the loop  ──▶ written together          replies ──▶ decoded where they are awaited

With a thread of the driver's in between, each read passes the interpreter from one thread to the other and back, which
under load takes longer than the rest of the client's part. Each write costs a system call here and a wake-up in Cassandra,
so the turn's requests share one; the segments of protocol 5 are read by `read_api.segments`. Promised: what
`cassandra.connection.Connection` promises, TLS included; any thread may send, close, and set timers, as the driver's own
threads do, while the loop runs. Not promised: anything for whoever waits for a reply *on* the loop, which would wait for
itself; connecting and preparing belong into threads.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from cassandra.connection import Connection, ConnectionShutdown, CrcMismatchException

from read_api.segments import HEAD_BYTES, BrokenSegmentError, SegmentReader, wrapped

_RECEIVED_BYTES = 65_536
_head = struct.Struct(">BBhB").unpack_from  # of a message; the length of its body follows
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def connections_on(loop: asyncio.AbstractEventLoop) -> type[LoopConnection]:
    """The connection class of a `Cluster` whose connections live on this loop; to be called on its thread."""

    class OnLoop(LoopConnection):
        pass

    OnLoop.loop, OnLoop.thread = loop, threading.get_ident()
    return OnLoop


class Head(NamedTuple):
    """Of a message, as the driver's `process_msg` takes it."""

    version: int
    flags: int
    stream: int
    opcode: int


class LoopConnection(Connection):  # type: ignore[misc]  # the driver ships no types
    """One connection. unsent: what is to be sent, or was not taken yet; touched on the loop's thread alone.

    writes: how often any of it was written; a frame is still here as long as that is what it was when the frame came.
    """

    loop: ClassVar[asyncio.AbstractEventLoop]
    thread: ClassVar[int]
    is_closed: bool  # the driver's, under its lock

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unsent = bytearray()
        self.writes = 0
        self._segments = SegmentReader()
        self._listening = False
        self._connect_socket()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a request waits for no other's reply
        self._socket.setblocking(False)
        self._on_loop(self._listen)
        self._send_options_message()

    @classmethod
    def create_timer(cls, timeout: float, callback: Callable[[], None]) -> Timer:
        """A timer of so many seconds."""
        timer = Timer(cls.thread, callback)
        if threading.get_ident() == cls.thread:
            timer.begin(cls.loop, timeout)
        else:
            cls.loop.call_soon_threadsafe(timer.begin, cls.loop, timeout)
        return timer

    def send_frame(
        self, frame: bytes, stream: int, callback: Callable[[Any], None], decoder: Callable[..., Any], columns: Any
    ) -> None:
        """As `send_msg`, of a message that is encoded, at protocol 5. Raises ConnectionShutdown."""
        if self.is_defunct or self.is_closed:
            raise ConnectionShutdown(f"Connection to {self.endpoint} is closed")
        self._requests[stream] = (callback, decoder, columns)
        self.push(wrapped(frame))

    def push(self, data: bytes) -> None:
        """Send a message. Raises ConnectionShutdown when the loop is closed."""
        try:
            self._on_loop(self._send, data)
        except RuntimeError as error:
            raise ConnectionShutdown(f"Connection to {self.endpoint} has no event loop any more") from error

    def close(self) -> None:
        """Close it; who waits for a reply is told."""
        with self.lock:
            if self.is_closed:
                return
            self.is_closed = True
        try:
            self._on_loop(self._leave)
        except RuntimeError:  # the loop is closed, and looks at no socket any more
            self._socket.close()
        if not self.is_defunct:
            closed = ConnectionShutdown(f"Connection to {self.endpoint} was closed")
            if not self.connected_event.is_set():
                self.last_error = closed  # of whoever waits until it can be used
            self.error_all_requests(closed)
            self.connected_event.set()

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        if threading.get_ident() == self.thread:
            call(*args)
        else:
            self.loop.call_soon_threadsafe(call, *args)

    def _listen(self) -> None:
        if not self.is_closed:
            self._listening = True
            self.loop.add_reader(self._socket.fileno(), self._receive)

    def _leave(self) -> None:
        if self._listening:
            self._listening = False
            self.loop.remove_reader(self._socket.fileno())
            self.loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _send(self, data: bytes) -> None:
        if self.is_closed:
            return  # whoever waits for the reply has been told
        if not self._unsent:
            self.loop.call_soon(self._begin)
        self._unsent += data

    def _begin(self) -> None:
        if not self.is_closed:
            self._flush()
        if self._unsent and not self.is_closed:
            self.loop.add_writer(self._socket.fileno(), self._go_on)

    def _go_on(self) -> None:
        self._flush()
        if not self._unsent and not self.is_closed:
            self.loop.remove_writer(self._socket.fileno())

    def _flush(self) -> None:
        self.writes += 1
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent)
                del self._unsent[:sent]
        except _NOT_NOW:
            return
        except OSError as error:
            self._unsent.clear()
            self.defunct(error)

    def _receive(self) -> None:
        ended = False
        parts = []
        try:
            while True:
                received = self._socket.recv(_RECEIVED_BYTES)
                parts.append(received)
                ended = not received
                if ended or (len(received) < _RECEIVED_BYTES and not self._pending()):
                    break
        except _NOT_NOW:
            pass
        except OSError as error:
            self.defunct(error)
            return
        if self._is_checksumming_enabled:
            self._process(b"".join(parts))
        elif parts:
            self._iobuf.write(b"".join(parts))
            self.process_io_buffer()
        if ended:
            self.close()

    def _process(self, received: bytes) -> None:
        """What came since protocol 5 was agreed upon, which is all in segments."""
        try:
            for message in self._segments.messages(received):
                version, *rest = _head(message)
                self.process_msg(Head(version & 0x7F, *rest), message[HEAD_BYTES:])
        except BrokenSegmentError as error:
            self.defunct(CrcMismatchException(str(error), self.endpoint))

    def _pending(self) -> int:
        """Bytes that TLS holds already, of which the loop is told nothing."""
        return self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0


class Timer:
    """A call after some time. Any thread may cancel it, before it has begun too."""

    __slots__ = ("_callback", "_cancelled", "_handle", "_thread")

    def __init__(self, thread: int, callback: Callable[[], None]) -> None:
        self._thread = thread
        self._callback = callback
        self._cancelled = False
        self._handle: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Let it run; on the loop's thread."""
        if not self._cancelled:
            self._handle = loop.call_later(seconds, self._end)

    def cancel(self) -> None:
        """Have it not call."""
        self._cancelled = True
        if self._handle is not None and threading.get_ident() == self._thread:
            self._handle.cancel()

    def _end(self) -> None:
        if not self._cancelled:
            self._callback()
