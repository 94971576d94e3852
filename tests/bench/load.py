"""A load of GETs in a process of its own: ``python -m tests.bench.load HOST PORT PATH CONNECTIONS REQUESTS``.

Each connection sends its next request when the reply to the last one is whole. Prints a JSON object: ``seconds`` of all
together and ``times``, the seconds of each request. Anything but a 200 ends it with an error. Written on bare sockets,
because a client that costs as much as the server would be measured in its place.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass

_LENGTH = b"content-length: "


@dataclass(frozen=True, kw_only=True)
class Load:
    """seconds: of the whole load. times: seconds of each request."""

    seconds: float
    times: list[float]


def loaded(host: str, port: int, path: str, *, connections: int, requests: int) -> Load:
    """Run the load in its own process."""
    arguments = (host, port, path, connections, requests)
    command = [sys.executable, "-m", "tests.bench.load", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return Load(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, left: list[int], times: list[float]) -> None:
        self._request, self._left, self._times = request, left, times
        self._received = b""
        self._wanted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            if not self._received.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(RuntimeError(self._received[:500].decode(errors="replace")))
                self._transport.close()
                return
            start = self._received.index(_LENGTH) + len(_LENGTH)
            self._wanted = head + 4 + int(self._received[start : self._received.index(b"\r", start)])
        if len(self._received) >= self._wanted:
            self._times.append(time.perf_counter() - self._sent)
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the server closed the connection"))

    def _next(self) -> None:
        self._received, self._wanted = b"", 0
        if not self._left[0]:
            self.done.set_result(None)
            self._transport.close()
            return
        self._left[0] -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def _run(host: str, port: int, path: str, connections: int, requests: int) -> Load:
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    left, times = [requests], list[float]()
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: _Connection(request, left, times), host, port) for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    return Load(seconds=time.perf_counter() - began, times=times)


if __name__ == "__main__":
    found = asyncio.run(_run(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
    print(json.dumps({"seconds": found.seconds, "times": found.times}))
