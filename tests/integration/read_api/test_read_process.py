"""The read API's service while Cassandra is away, behind a TCP proxy that can be closed; the command, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from projections import ORDERS_BY_USER
from read_api.app import ReadApi as Application
from tests import preloaded
from tests.http_client import HTTP
from tests.integration.read_api.proxy import Proxy
from tests.integration.read_api.stand import MODELS, ONE, Place, refusal


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


def test_serve(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "log"
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
    with log.open("wb") as output:
        process = preloaded.popen(("read_api", "serve", "--port", str(port)), environment, output)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                deadline = time.monotonic() + 30
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if client.get("/readyz").status_code == 200:
                            break
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)  # the deadline is above; the process is starting
                reply = client.get(f"/read/orders_by_user/{UUID(int=1)}")
                assert reply.json()["rows"][0]["user_name"] == "Ann"
                assert datetime.fromisoformat(reply.json()["rows"][0]["created_at"]) - now < timedelta(milliseconds=1)
                assert client.head(f"/read/orders_by_user/{UUID(int=1)}").headers["covered-lsn"] == "0/0"
                # A request under way when the signal comes is still answered.
                slow: list[httpx.Response] = []
                url = f"http://127.0.0.1:{port}/read/orders_by_user/{UUID(int=1)}?token=0/1"
                waiting = threading.Thread(target=lambda: slow.append(HTTP.get(url)))
                waiting.start()
                time.sleep(0.5)  # nothing shows a request that waits; less time would only test less
                process.send_signal(signal.SIGTERM)
                waiting.join(15)
                assert slow[0].status_code == 503
            process.wait(15)
        finally:
            process.kill()
    assert process.returncode == 0
