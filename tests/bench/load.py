"""Loads of GETs, each connection's next request sent when the reply to its last one is whole; several paths take turns.

`pressed` is by wrk (https://github.com/wg/wrk), where it is on the PATH. `loaded`, which also tells the time of each request, is
a process of our own: ``python -m tests.bench.load HOST PORT CONNECTIONS REQUESTS PATH…``. It prints a JSON object: ``seconds``
of all together and ``times``, the seconds of each request. Anything but a 200 ends it with an error. Written on bare
sockets, because a client that costs as much as the server would be measured in its place; wrk costs a third of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

_LENGTH = b"content-length: "


@dataclass(frozen=True, kw_only=True)
class Load:
    """seconds: of the whole load. times: seconds of each request."""

    seconds: float
    times: list[float]


def loaded(host: str, port: int, *paths: str, connections: int, requests: int) -> Load:
    """Run the load in its own process."""
    arguments = (host, port, connections, requests, *paths)
    command = [sys.executable, "-m", "tests.bench.load", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return Load(**json.loads(done.stdout))


WRK = shutil.which("wrk")
_DONE = re.compile(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m)\b", re.MULTILINE)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LUA = """local paths, at = {%s}, 0
function request()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at])
end
"""
_OWN_RATE = 1_000  # requests for each second that is asked for: about as long


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """requests: those that were answered. seconds: that they took."""

    requests: int
    seconds: float


def pressed(host: str, port: int, *paths: str, connections: int, seconds: int) -> Pressed:
    """As many requests as are answered, for about so long."""
    if WRK is None:
        requests = seconds * _OWN_RATE
        load = loaded(host, port, *paths, connections=connections, requests=requests)
        return Pressed(requests=requests, seconds=load.seconds)
    command = [WRK, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if len(paths) > 1:
            script.write(_LUA % ", ".join(f'"{path}"' for path in paths))
            script.flush()
            command += ["--script", script.name]
        url = f"http://{host}:{port}{paths[0]}"
        done = subprocess.run([*command, url], check=False, capture_output=True, text=True, timeout=seconds + 60)
    return parse_wrk(done.stdout + done.stderr)


def parse_wrk(said: str) -> Pressed:
    """What wrk reports; raises RuntimeError when it had anything but replies of success, or none."""
    found = _DONE.search(said)
    if found is None or found[1] == "0" or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"wrk could not load the server:\n{said}")
    return Pressed(requests=int(found[1]), seconds=float(found[2]) * _SECONDS[found[3]])


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], left: list[int], times: list[float]) -> None:
        self._requests, self._left, self._times = requests, left, times
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
        self._transport.write(next(self._requests))


async def _run(host: str, port: int, connections: int, requests: int, *paths: str) -> Load:
    loop = asyncio.get_running_loop()
    each = cycle(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() for path in paths)
    left, times = [requests], list[float]()
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: _Connection(each, left, times), host, port) for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    return Load(seconds=time.perf_counter() - began, times=times)


if __name__ == "__main__":
    found = asyncio.run(_run(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:]))
    print(json.dumps({"seconds": found.seconds, "times": found.times}))
