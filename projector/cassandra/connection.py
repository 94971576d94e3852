"""The driver's connection, with two of its ways to a socket made shorter. Topology, TLS, framing and answers stay the driver's.

What is sent goes to the kernel in the sender's thread, unless something waits before it: the driver's own way, through
its event thread, costs three turns of that thread's loop a message. And several batches go as one piece: in one segment with
one checksum (protocol v5) and one system call, which the server also reads at once.

Promised: bytes leave in the order in which they were given, and whatever was held is sent by `let_go` or, like all that
is under way, answered with an error when the connection fails. Of one connection, one thread calls `hold` and `let_go`.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable
from typing import Any

from cassandra.connection import ConnectionBusy, ConnectionShutdown
from cassandra.io import libevreactor
from cassandra.segment import Segment

from projector.cassandra.frames import Batch, decode_answer, encode_batch

_TOGETHER = 32 * 1024  # bytes that are held before they go by themselves; far below a segment's most


class Connection(libevreactor.LibevConnection):  # type: ignore[misc]  # the driver has no types
    """As the module says."""

    out_buffer_size = 1 << 17  # what goes by TLS the driver would cut every 4 KiB, a system call each
    in_buffer_size = 1 << 16

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        super().__init__(*args, **kwargs)

    def hold(self, batch: Batch, stream_id: int, answered: Callable[[Any], None]) -> None:
        """Take a batch to be sent at the next `let_go`, or now when enough is held; raises as `send_msg`, before it is taken."""
        if self.is_defunct or self.is_closed:
            raise ConnectionShutdown(f"Connection to {self.endpoint} is closed")
        if not self._socket_writable:
            raise ConnectionBusy(f"Connection {self.endpoint} is overloaded")
        self._requests[stream_id] = (answered, decode_answer, None)
        frame = encode_batch(batch, stream_id, self.protocol_version)
        if self._held_bytes + len(frame) > Segment.MAX_PAYLOAD_LENGTH:
            self.let_go()  # a segment has whole messages, or a part of one that is too long
        self._held.append(frame)
        self._held_bytes += len(frame)
        if self._held_bytes >= _TOGETHER:
            self.let_go()

    def let_go(self) -> None:
        """Send what is held."""
        if not self._held:
            return
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if self._is_checksumming_enabled:
            segments = io.BytesIO()
            self._segment_codec.encode(segments, data)
            data = segments.getvalue()
        self.push(data)

    def push(self, data: bytes) -> None:
        """Send bytes; what the kernel does not take now is left to the event thread."""
        if isinstance(self._socket, ssl.SSLSocket):  # one session of TLS must not be used by two threads at once
            super().push(data)
            return
        with self._deque_lock:
            self.deque.append(data)
            if len(self.deque) == 1:
                self._send_waiting()
            left = bool(self.deque)
        if left:
            libevreactor._global_loop.notify()

    def handle_write(self, watcher: Any, revents: int, errno: int | None = None) -> None:
        """The event thread's part: called while something waits and the socket takes more, or has failed."""
        if isinstance(self._socket, ssl.SSLSocket) or revents & libevreactor.libev.EV_ERROR:
            super().handle_write(watcher, revents, errno)
            return
        with self._deque_lock:
            error = self._send_waiting()
        if error is not None:
            self.defunct(error)

    def _send_waiting(self) -> OSError | None:
        """Send what waits, as far as the kernel takes it; the caller holds the lock. An error's bytes stay, for the event thread."""
        while self.deque:
            data = self.deque[0]
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                self._socket_writable = False
                return None
            except OSError as error:
                return error
            if sent < len(data):
                self.deque[0] = data[sent:]
            else:
                self.deque.popleft()
        self._socket_writable = True
        return None
