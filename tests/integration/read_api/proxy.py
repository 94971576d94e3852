"""A server that can be away: a TCP proxy that refuses and cuts connections when told, or lets nothing pass any more."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading


class Proxy:
    """A TCP proxy to one server."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._muted = 0  # how many connections, of the oldest, let nothing pass
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def come(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def go(self) -> None:
        """Refuse new connections and cut those that are open."""
        for one in (self._listener, *self._open):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._listener, self._open = None, []

    def mute(self, *, later: bool = False) -> None:
        """Let nothing pass on the connections that are open, which stay so; later: nor on those that come."""
        self._muted = sys.maxsize if later else len(self._open)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = listener.accept()
                outer = socket.create_connection(self._target)
                place = len(self._open)
                self._open += [inner, outer]
                for source, sink in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._copy, args=(source, sink, place), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, place: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if place >= self._muted:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
