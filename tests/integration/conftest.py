"""Command APIs on the test's own database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from command_api.process.settings import CommandApi, Postgres, Settings
from command_api.serve import prepare
from tests.http_client import CONTEXT
from tests.integration.command_server import Api, until


@pytest.fixture
def start(database: str, postgres: Postgres) -> Iterator[Callable[..., Api]]:
    """Start servers on this test's database; keyword arguments are the command API's settings, or `conninfo`."""
    stops: list[Callable[[], None]] = []

    def run(*, conninfo: str | None = None, **own: Any) -> Api:
        section = postgres if conninfo is None else Postgres(admin=database, command_api=conninfo)  # type: ignore[arg-type]
        server, listener = prepare(Settings(postgres=section, command_api=CommandApi(port=0, **own)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        http = httpx.Client(base_url=url, timeout=60, verify=CONTEXT, trust_env=False)
        admin = psycopg.connect(database, autocommit=True)

        def stop() -> None:
            http.close()
            admin.close()
            server.should_exit = True
            thread.join(20)
            listener.close()
            assert not thread.is_alive()

        stops.append(stop)
        until(lambda: server.started)
        return Api(url=url, http=http, admin=admin)

    yield run
    for stop in stops:
        stop()


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start()
