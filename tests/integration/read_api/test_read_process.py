"""The read API's service while Cassandra is away, behind a TCP proxy that can be closed; the command, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from projections import ORDERS_BY_USER
from read_api.app import ReadApi as Application
from tests.integration.read_api.stand import MODELS, ONE, Place, refusal


class Proxy:
    """A TCP proxy to Cassandra that can be away."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
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

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = listener.accept()
                outer = socket.create_connection(self._target)
                self._open += [inner, outer]
                for source, sink in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(stack: Any) -> Iterator[Proxy]:
    """A proxy, away until it comes."""
    proxy = Proxy(stack.cassandra)
    yield proxy
    proxy.go()


def test_cassandra_away_is_a_503_and_heals(place: Place, proxy: Proxy) -> None:
    place.insert(ONE, [("a", 1)])
    section = place.settings.cassandra.model_copy(update={"port": proxy.port, "contact_points": ("127.0.0.1",)})
    settings = place.settings.model_copy(update={"cassandra": section})

    async def until_it_answers(client: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + 30
        while (response := await client.get("/read/one/a")).status_code != 200:
            assert response.headers["retry-after"] == "1"
            refusal(response, 503)
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert response.json()["rows"] == [{"t": "a", "b": 1}]

    async def check() -> None:
        application = Application(settings, MODELS)
        await application.service.start()
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            refusal(await client.get("/read/one/a"), 503)  # away at start
            refusal(await client.get("/readyz"), 503)
            proxy.come()
            await until_it_answers(client)
            proxy.go()
            refusal(await client.get("/read/one/a"), 503)
            refusal(await client.get("/read/one/a", headers={"Consistency-Token": "0/1"}), 503)
            proxy.come()
            await until_it_answers(client)
        await application.service.stop()

    asyncio.run(check())


def test_serve(place: Place) -> None:
    now = datetime.now(UTC)
    order = [UUID(int=1), int(now.timestamp() * 1e6), UUID(int=2), "placed", "eu", "Ann"]
    place.insert(ORDERS_BY_USER, [order])
    cassandra = place.settings.cassandra
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "LOCKSTEP_CASSANDRA__CONTACT_POINTS": json.dumps(cassandra.contact_points),
        "LOCKSTEP_CASSANDRA__PORT": str(cassandra.port),
        "LOCKSTEP_CASSANDRA__KEYSPACE": cassandra.keyspace,
        "LOCKSTEP_PROJECTOR__PROJECTION": "test",
    }
    command = [sys.executable, "-m", "read_api", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                deadline = time.monotonic() + 30
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if client.get("/readyz").status_code == 200:
                            break
                    assert process.poll() is None, process.stderr and process.stderr.read()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)  # the deadline is above; the process is starting
                reply = client.get(f"/read/orders_by_user/{UUID(int=1)}")
                assert reply.json()["rows"][0]["user_name"] == "Ann"
                assert datetime.fromisoformat(reply.json()["rows"][0]["created_at"]) - now < timedelta(milliseconds=1)
                assert client.head(f"/read/orders_by_user/{UUID(int=1)}").headers["covered-lsn"] == "0/0"
                # A request under way when the signal comes is still answered.
                slow: list[httpx.Response] = []
                url = f"http://127.0.0.1:{port}/read/orders_by_user/{UUID(int=1)}?token=0/1"
                waiting = threading.Thread(target=lambda: slow.append(httpx.get(url, trust_env=False)))
                waiting.start()
                time.sleep(0.5)  # nothing shows a request that waits; less time would only test less
                process.send_signal(signal.SIGTERM)
                waiting.join(15)
                assert slow[0].status_code == 503
            process.wait(15)
        finally:
            process.kill()
    assert process.returncode == 0
